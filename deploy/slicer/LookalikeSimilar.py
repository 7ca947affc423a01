"""3D Slicer module: similar cases of other patients, for the slice that is shown.

It is a thin face of `lookalike.client`, which must be importable: `slicer.util.pip_install("PATH/client")` once.
"""

import ctk
import qt
import slicer
from lookalike.client import Client, NodeError
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)

OTHER = "OTHER PATIENT, not this examination"
ADDRESS_KEY = "Lookalike/Address"
ARCHIVE_KEY = "Lookalike/Archive"
FIRST = 3


class LookalikeSimilar(ScriptedLoadableModule):
    """What Slicer shows of the module in its lists."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = "Lookalike: similar cases"
        parent.categories = ["Informatics"]
        parent.contributors = ["Lookalike"]
        parent.helpText = "Finds images of other patients that look like the slice that is shown. Not for diagnosis."


class LookalikeSimilarLogic(ScriptedLoadableModuleLogic):
    """What the module does, without its widgets."""

    def shown_instance(self, view="Red"):
        """SOP Instance UID of the slice that a view shows; None if its volume does not come from DICOM."""
        logic = slicer.app.layoutManager().sliceWidget(view).sliceLogic()
        volume = logic.GetBackgroundLayer().GetVolumeNode()
        uids = (volume.GetAttribute("DICOM.instanceUIDs") or "").split() if volume else []
        if not uids:
            return None
        index = logic.GetSliceIndexFromOffset(logic.GetSliceOffset(), volume) - 1  # it counts from 1
        return uids[min(max(index, 0), len(uids) - 1)]

    def load(self, case, archive):
        """Load the series of a case from the archive's DICOMweb, and mark it as another patient's."""
        from DICOMLib import DICOMUtils

        DICOMUtils.importFromDICOMWeb(archive, case.study_instance_uid, case.series_instance_uid)
        for node_id in DICOMUtils.loadSeriesByUID([case.series_instance_uid]):
            node = slicer.mrmlScene.GetNodeByID(node_id)
            node.SetName(f"{OTHER}: {node.GetName()}")


class LookalikeSimilarWidget(ScriptedLoadableModuleWidget):
    """The panel of the module."""

    def setup(self):
        """Build the panel."""
        super().setup()
        self.logic, self.asked, settings = LookalikeSimilarLogic(), None, qt.QSettings()
        box = ctk.ctkCollapsibleButton()
        box.text = "Similar cases"
        self.layout.addWidget(box)
        form = qt.QFormLayout(box)
        self.address = qt.QLineEdit(settings.value(ADDRESS_KEY, "http://127.0.0.1:8080"))
        self.archive = qt.QLineEdit(settings.value(ARCHIVE_KEY, "http://127.0.0.1:8042/dicom-web"))
        form.addRow("Node", self.address)
        form.addRow("Archive (DICOMweb)", self.archive)
        self.count = qt.QSpinBox()
        self.count.value, self.count.minimum, self.count.maximum = FIRST, 1, 50
        form.addRow("Cases", self.count)
        button = qt.QPushButton("Similar to the slice of the red view")
        button.connect("clicked()", self.find)
        form.addRow(button)
        self.status = qt.QLabel()
        self.status.wordWrap = True
        form.addRow(self.status)
        self.cases = qt.QVBoxLayout()
        form.addRow(self.cases)
        self.layout.addStretch(1)

    def find(self):
        """Ask about the slice that is shown."""
        settings = qt.QSettings()
        settings.setValue(ADDRESS_KEY, self.address.text)
        settings.setValue(ARCHIVE_KEY, self.archive.text)
        uid = self.logic.shown_instance()
        if uid is None:
            self.status.text = "The red view shows no volume that was loaded from DICOM."
            return
        try:
            node = Client(self.address.text)
            found = node.similar(uid, limit=self.count.value)
            pictures = [node.thumbnail(case) for case in found]
        except (NodeError, ValueError) as error:
            self.status.text = f"No answer: {error}"
            return
        nothing_close = bool(found) and all(case.is_chance for case in found)
        self.status.text = "Nothing close: no nearer than chance." if nothing_close else f"{len(found)} nearest cases."
        self.show_cases(found, pictures)

    def show_cases(self, found, pictures):
        """Replace the cards by those of another answer."""
        while self.cases.count():
            self.cases.takeAt(0).widget().deleteLater()
        for case, picture in zip(found, pictures):  # noqa: B905 - Python 3.9
            self.cases.addWidget(self.card(case, picture))

    def card(self, case, picture):
        """A case under a banner that says whose it is not."""
        group = qt.QGroupBox(f"{case.rank}. {OTHER}")
        group.setStyleSheet("QGroupBox { border: 3px solid #f2b34c; margin-top: 1.2em; font-weight: bold; }")
        rows = qt.QVBoxLayout(group)
        image, label = qt.QPixmap(), qt.QLabel()
        image.loadFromData(qt.QByteArray(picture))
        label.setPixmap(image)
        rows.addWidget(label)
        known = " · ".join(part for part in (case["Modality"], case["PatientSex"], case["PatientAge"]) if part)
        rows.addWidget(qt.QLabel(f"{case.likeness.capitalize()}\n{case['SeriesDescription']}\n{known}"))
        button = qt.QPushButton("Load this series")
        button.connect("clicked()", lambda: self.logic.load(case, self.archive.text))
        rows.addWidget(button)
        return group
