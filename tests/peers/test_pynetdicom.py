"""What the node relies on of pynetdicom, private names among it, is as it was when ours was written."""

import hashlib
import inspect

import pynetdicom
import pytest
from pynetdicom import acse, ae, association, dul, fsm, transport

RELIED_ON = {
    dul.DULServiceProvider.run_reactor: "e3a10eb3a093",
    dul.DULServiceProvider._process_recv_primitive: "4c0ebbb3e646",
    dul.DULServiceProvider._decode_pdu: "fc71dd1bf853",
    dul.DULServiceProvider.send_pdu: "7cbce5da8594",
    dul.DULServiceProvider.stop_dul: "28a7e0be126e",
    association.Association._run_reactor: "f28838c5559e",
    association.Association._serve_request: "2f24c1759cdf",
    association.Association.run_reactor: "ed8bbbe3b3d6",
    transport.AssociationSocket.send: "1ea8158c0b51",
    transport.AssociationSocket.close: "c726c8db5381",
    acse.ACSE.send_accept: "c03855deabef",
    acse.ACSE.send_reject: "700998293bbc",
    acse.ACSE.negotiate_association: "a6f771214fa4",
    ae.ApplicationEntity.associate: "dbc8cf470903",
    ae.ApplicationEntity._create_socket: "f56bca8888e1",
    association.Association.__init__: "eb07516b8009",
    association.Association.kill: "8f9713666a7f",
    fsm.AE_6: "385d595ed494",
    transport.AssociationSocket.connect: "aeeeae413bd3",
    transport.RequestHandler._create_association: "05c8d12b7986",
    fsm.DT_2: "9ec543394e0b",
    fsm.AA_8: "06c83317f088",
    fsm.AR_4: "33a12cf6208e",
}
"""Functions that ours stands in for, calls, or is called by, with the start of the digest of their source."""


@pytest.mark.parametrize("function", RELIED_ON, ids=lambda function: function.__qualname__)
def test_pynetdicom_is_as_the_upper_layer_was_written_for(function: object) -> None:
    digest = hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:12]  # type: ignore[arg-type]

    assert digest == RELIED_ON[function], (  # type: ignore[index]
        f"{function} of pynetdicom {pynetdicom.__version__} is not the one that "
        f"node/dicom was written for: "
        f"read what changed, adapt UpperLayer, Acceptor or Listener if it must be, then write {digest} here"
    )
