"""Original objects that are kept: each a file as it was received, named by its SOP Instance UID, and counted."""

import errno
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shutil import copyfileobj
from typing import Final

from storage.durable import create_locked, folder_names, make_private_folder, remove_stale, sync_folder
from storage.objects.size_table import ObjectUsage, SizeTable
from storage.vault import CLEAR, Vault

TABLE: Final = "sizes.sqlite"
TEMPORARY: Final = "tmp"
SUFFIX: Final = ".dcm"


@dataclass(frozen=True, slots=True)
class ObjectCheck:
    """Result of comparing the files with the table.

    Attributes
    ----------
    added, missing
        Files that the table did not have and has now, and entries of the table whose files were gone.
    """

    added: int
    missing: int


class ObjectStore:
    """The folder of kept objects. One process keeps and erases, any number reads.

    A file is durable before the table names it, and gone before the table forgets it. The table says what is kept.

    Parameters
    ----------
    path
        Folder; the first object makes it. Files lie in 256 folders in it, by a digest of their UIDs.
    vault
        Opens the files, which whoever wrote them has sealed.
    """

    def __init__(self, path: Path, vault: Vault = CLEAR) -> None:
        self.path, self.vault, self._sizes = path, vault, SizeTable(path / TABLE)

    def keep(self, files: Mapping[str, Path]) -> None:
        """Keep files by SOP Instance UID, in the place of what was kept of these; durable when this returns.

        Parameters
        ----------
        files
            Whole, durable files that are never written again: where that is possible they are linked, not copied.

        Raises
        ------
        OSError
            Such as a full disk: some may be kept already, and all can be kept again.
        """
        if not files:
            return
        for folder in (self.path, self.path / TEMPORARY):
            make_private_folder(folder)
        self._make_durable(files)
        self._sizes.add({uid: self.file(uid).stat().st_size for uid in files})

    def _make_durable(self, files: Mapping[str, Path]) -> None:
        folders = {self.file(uid).parent for uid in files}
        for folder in folders:
            make_private_folder(folder)
        for uid, source in files.items():
            self._place(source, self.file(uid))
        for folder in (*folders, self.path, self.path.parent):
            sync_folder(folder)

    def file(self, sop_instance_uid: str) -> Path:
        """Path of the object of a SOP Instance UID; the file exists if the object is kept."""
        shard = sha256(sop_instance_uid.encode()).hexdigest()[:2]
        return self.path / shard / f"{sop_instance_uid}{SUFFIX}"

    def kept(self, sop_instance_uids: Collection[str]) -> frozenset[str]:
        """SOP Instance UIDs, out of those given, whose objects are kept."""
        return self._sizes.known(sop_instance_uids)

    def sizes(self, sop_instance_uids: Collection[str]) -> dict[str, int]:
        """Sizes in bytes of the kept objects, out of those given, by SOP Instance UID."""
        return self._sizes.sizes(sop_instance_uids)

    def usage(self) -> ObjectUsage:
        """Number and size of the kept objects."""
        return self._sizes.usage()

    def erase(self, sop_instance_uids: Iterable[str]) -> int:
        """Erase objects for good, as far as they are kept; return how many were.

        Also a file that the table does not name goes: a kill may have come between the two.
        """
        uids = set(sop_instance_uids)
        present = [path for uid in uids if (path := self.file(uid)).exists()]
        for path in present:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in present}:
            sync_folder(folder)  # none comes back after a loss of power
        self._sizes.remove(uids)
        return len(present)

    def repair(self) -> ObjectCheck:
        """Make the table say what lies in the folders; it reads all names, so call it where the table was lost."""
        if not self.path.is_dir():
            return ObjectCheck(0, 0)
        make_private_folder(self.path / TEMPORARY)
        remove_stale(self.path / TEMPORARY)
        there = dict(self._files())
        added = there.keys() - self.kept(there.keys())
        missing = [uid for uid in self._sizes.all() if uid not in there]
        self._sizes.add({uid: there[uid] for uid in added})
        self._sizes.remove(missing)
        return ObjectCheck(len(added), len(missing))

    @property
    def is_counted(self) -> bool:
        """False if objects lie here and their table does not: `repair` is due."""
        return self._sizes.exists() or not self.path.is_dir()

    def _files(self) -> Iterator[tuple[str, int]]:
        for shard in sorted(folder_names(self.path)):
            if len(shard) == 2:
                for name in folder_names(self.path / shard):
                    yield name.removesuffix(SUFFIX), (self.path / shard / name).stat().st_size

    def _place(self, source: Path, target: Path) -> None:
        """Give a file its place, in one step, by a link or else by a durable copy."""
        temporary = self.path / TEMPORARY / f"{target.name}.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        try:
            temporary.hardlink_to(source)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                raise
            with source.open("rb") as original, os.fdopen(create_locked(temporary), "wb") as copy:
                copyfileobj(original, copy)
                copy.flush()
                os.fdatasync(copy.fileno())
        temporary.replace(target)
        temporary.unlink(missing_ok=True)  # renaming one link of a file to another of it does nothing
