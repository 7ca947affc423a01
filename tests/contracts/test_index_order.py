"""The order of an index: what each aggregation averages, and what decides between equal distances."""

import numpy as np
import pytest

from storage.record import Level
from storage.search.index import Aggregation, Hit
from tests.contracts.test_code_index import QUERY, Open, at, every_index, found
from tests.support.storage.index_cases import instance_uid, rows, uids


@every_index
def test_late_interaction_averages_over_the_queries_what_is_nearest_to_each(opened: Open) -> None:
    """Series 0 holds something for either query, series 1 for the first only, and that nearer."""
    queries = np.concatenate([at(0), at(64)])
    with opened(64) as index:
        index.append(rows(0, at(2)) + rows(1, at(60)) + rows(2, at(1)) + rows(3, at(1)))

        late = found(index, queries, 9, Level.SERIES, aggregation=Aggregation.LATE).hits
        best = found(index, queries, 9, Level.SERIES).hits

    assert late == (Hit(uids(0)[2], 3, instance_uid(0), 0), Hit(uids(2)[2], 32, instance_uid(2), 0))
    assert [hit.distance for hit in best] == [1, 2]


@every_index
@pytest.mark.parametrize("aggregation", Aggregation)
def test_of_equal_distances_that_is_nearer_whose_bits_the_query_is_less_sure_of(
    opened: Open, aggregation: Aggregation
) -> None:
    """All differ in one bit; of two that tie at the cut, the smaller UID is kept."""
    outputs = np.full((1, 64), 100, np.int8)
    outputs[0, :3] = 9, -3, 9
    bit = {0: 0, 10: 1, 20: 2, 30: 3}
    with opened(64) as index:
        index.append([row for number, n in bit.items() for row in rows(number, np.array([[1 << n]], np.uint64))])

        hits = found(index, QUERY, 2, Level.SERIES, aggregation=aggregation, outputs=outputs).hits

    assert [(hit.sop_instance_uid, hit.distance, hit.weighted_distance) for hit in hits] == [
        (instance_uid(10), 1, 3),
        (instance_uid(0), 1, 9),
    ]
