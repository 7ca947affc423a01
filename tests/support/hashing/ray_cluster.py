"""A Ray cluster of three nodes on this machine, run as a program; it ends with its standard input."""

import sys

from ray.cluster_utils import Cluster

OBJECTS_BYTES = 80 << 20

if __name__ == "__main__":
    options = {"num_cpus": 1, "object_store_memory": OBJECTS_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=options)
    for _ in range(2):
        cluster.add_node(**options)
    cluster.wait_for_nodes()
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()
