"""What systems and devices leave beside scans is left alone on record; what people name is not."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from archived.ingest.ignore_rules import RULES, data, rule_for
from tests.integration.ingest.hand_driven_folder import Place, paper

FILE = stat.S_IFREG | 0o644
COLONS = data()["colons"]

# As people reported them, and others of each kind.
SYSTEM_FILES = [
    "@Recycle/scan.txt",
    "@Recently-Snapshot/daily.1/scan.txt",
    "~snapshot/hourly.0/scan.txt",
    "Network Trash Folder/scan.txt",
    "Temporary Items/scan.txt",
    "RECYCLER/scan.txt",
    "@Transcode/scan.txt",
    "sub/@recycle/in/scan.pdf",
    "#snapshot/GMT+07-2026.11.30/a.pdf",
    "#Recycle/Nhân sự/quyết định.pdf",
    "@sharesnap/a.pdf",
    "@tmp/a.pdf",
    "scan.pdf@SynoResource",
    "a/scan.pdf@SynoEAStream",
    ".snapshot/hourly.0/a.pdf",
    ".zfs/snapshot/auto/a.pdf",
    ".snapshots/1/snapshot/a.pdf",
    "@GMT-2026.11.30-12.16.00/a.pdf",
    "~latest/a.pdf",
    "trashbox/a.pdf",
    "Recycle Bin/a.pdf",
    "$Recycle.Bin/S-1-5-21/$R12.pdf",
    "recycled/x.pdf",
    "DESKTOP.INI",
    "Thumbs.db",
    "scan.pdf - Shortcut.lnk",
    "Icon\r",
    "Icon\uf00d",
    ".DS_Store",
    "._scan.pdf",
    ".TemporaryItems/a.pdf",
    ".apdisk",
    "Temporary items/a.pdf",
    ":2eDS_Store",
    ".directory",
    ".Trash-1000/files/a.pdf",
    ".goutputstream-ABC123",
    ".fuse_hidden0000001",
    ".nfs00000000000000",
    "DCIM/100CANON/MVI_0001.THM",
    "DCIM/100MEDIA/DJI_0001.thm",
    "IMG_0001.xmp",
    "IMG_0001.jpg.XMP",
    "IMG_0001.AAE",
    "CANONMSC/M0100.CTG",
    "NETSCAN.XST",
    "DOC.XSM/NEXTNAME.DAT",
    "DOC.XSM/XSMDESC.DAT",
    ".stversions/a.pdf",
    ".dropbox.cache/a.pdf",
]
STREAMS = [
    "scan0001.png{}Zone.Identifier",
    "scan0001.png{}Zone.Identifier{}$DATA",
    "scan0001.png{}zone.identifier",
    "{}Zone.Identifier",
    "scan0001.png{}AFP_AfpInfo",
    "scan0001.png{}AFP_AfpInfo{}$DATA",
    "a/scan0001.png{}AFP_Resource",
    "scan0001.png{}com.apple.quarantine",
    "scan0001.png{}com.apple.metadata{}kMDItemWhereFroms",
    "scan.png{}com.apple.lastuseddate#PS",
    "scan.png{}com.dropbox.attributes",
    "Thumbs.db{}encryptable",
    "Tờ trình.pdf{}SmartScreen",
    "a.pdf{}\x05SummaryInformation",
    "a.jpg{}{{4c8cc155-6c1e-11d1-8e41-00c04fb9386d}}",
]
OTHERWISE = [
    "scan.png_Zone.Identifier",
    "scan.png.Zone.Identifier",
    "scan.png%3AZone.Identifier",
    "scan.png-Zone.Identifier",
    "Zone.Identifier",
    "scan.pngAFP_AfpInfo"[:8] + "_AFP_AfpInfo",
]

# What a person may call a folder or a document.
DOCUMENTS = [
    "snapshot/scan.pdf",
    "snapshot",
    "Snapshots/2026/scan.pdf",
    "recycle/scan.pdf",
    "recycle.pdf",
    "recycler.pdf",
    "Recycle Bin.pdf",
    "Recycled paper/scan.pdf",
    "Temporary Items.pdf",
    "Temporary Items",
    "Network Trash Folder.pdf",
    "trashbox.pdf",
    "trash/scan.pdf",
    "tmp/scan.pdf",
    "temp/scan.pdf",
    "thumbs.pdf",
    "thumbs.db.pdf",
    "desktop.pdf",
    "desktop.ini.pdf",
    "Icon",
    "icon.png",
    "Icon/scan.png",
    "Công văn 12:30.pdf",
    "scan:1.pdf",
    "scan\uf03a1.pdf",
    "a÷b.pdf",
    "Báo cáo：quý 4.pdf",
    "scan.pdf::$DATA",
    "scan.pdf:$DATA",
    "Zone.Identifier.pdf",
    "giải thích Zone.Identifier.docx",
    "thư:com.apple.pdf",
    "hợp đồng:com.apple.vn.docx",
    "com.apple.quarantine.pdf",
    "AFP_Resource.pdf",
    "@Recycle.pdf",
    "@Recycle",
    "#recycle.pdf",
    "~snapshot.pdf",
    "~snapshot",
    "@eaDir.pdf",
    "@tmp.pdf",
    "scan@SynoResource.pdf",
    "directory",
    "directory/scan.pdf",
    "index.xml",
    "index.csv",
    "log.txt",
    "job.log",
    "scan.dat",
    "NETSCAN.TIF",
    "video.thm",
    "bản đồ.thm",
    "M0100.pdf",
    "XMP.pdf",
    "scan.xmp.pdf",
    "lost/scan.pdf",
    "lost+found.pdf",
    "system volume information.pdf",
    "@GMT/scan.pdf",
    "@GMT-2026.pdf",
    "DCIM/100CANON/IMG_0001.JPG",
    "DCIM/scan.pdf",
    "link.pdf",
    "lnk",
    "latest/scan.pdf",
    "snap.pdf",
    "Nikon001.jpg",
    "DATABASE.BIN",
    "macosx/scan.pdf",
    "#snapshot.pdf",
    "2e_a.pdf",
]


@pytest.mark.parametrize("path", SYSTEM_FILES + OTHERWISE)
def test_a_system_file_is_left_alone(path: str) -> None:
    assert rule_for(path.encode(), FILE) == "system-file"


@pytest.mark.parametrize("colon", COLONS)
@pytest.mark.parametrize("path", STREAMS)
def test_streams_are_left_alone_however_their_colon_is_spelt(path: str, colon: str) -> None:
    name = path.format(*[colon] * path.count("{}"))
    assert rule_for(name.encode(), FILE) == "system-file"


@pytest.mark.parametrize("path", DOCUMENTS)
def test_what_a_person_may_call_a_document_is_taken_in(path: str) -> None:
    assert rule_for(path.encode(), FILE) is None


@pytest.mark.parametrize("ending", data()["documents"])
def test_a_documents_ending_makes_a_stream_with_a_free_name_a_document(ending: str) -> None:
    assert rule_for(f"thư:com.apple.{ending}".encode(), FILE) is None


def test_every_entry_of_the_data_file_has_a_maker_a_source_and_a_rule() -> None:
    for each in data()["system_files"]:
        assert each["rule"] in RULES
        assert each["maker"]
        assert len(each["source"]) > 10
        assert {"files", "folders", "streams"} & set(each)
        assert set(each) <= {
            "rule",
            "maker",
            "files",
            "folders",
            "streams",
            "unmistakable",
            "source",
        }


def test_every_name_of_the_data_file_is_left_alone_where_it_stands() -> None:
    def named(pattern: str) -> str:
        return re.sub(r"\[[^]]*\]", "0", pattern).replace("?", "x").replace("*", "0")

    for each in data()["system_files"]:
        made = [named(name) for name in each.get("files", ())]
        made += [f"{named(name)}/scan.pdf" for name in each.get("folders", ())]
        made += [f"scan.pdf:{named(name)}" for name in each.get("streams", ())]
        made += [f"x_{name}" for name in each.get("unmistakable", ())]
        for path in made:
            for spelt in (path, path.upper(), f"in/{path}"):
                found = rule_for(spelt.encode(), FILE)
                assert found == each["rule"], spelt


def test_a_closed_folder_of_a_system_is_left_alone_and_a_persons_is_not() -> None:
    assert rule_for(b"@eaDir", FILE, folder=True) == "system-file"
    assert rule_for(b"#snapshot", FILE, folder=True) == "system-file"
    assert rule_for(b"snapshot", FILE, folder=True) is None


def test_nothing_of_a_recycle_bin_or_a_snapshot_is_taken_in_and_all_of_it_is_on_record(
    place: Place,
) -> None:
    names = [*SYSTEM_FILES, *(each.format(*["\uf03a"] * each.count("{}")) for each in STREAMS)]
    for number, name in enumerate(names):
        place.drop(name, paper(str(number)))
    place.drop("scan0001.png", paper("a document"))
    place.drop("snapshot/scan.pdf", paper("another"))
    assert {d.name for d in place.quiet()} == {"scan0001.png", "snapshot/scan.pdf"}
    balance = place.balance
    assert balance.rules == {"system-file": len(names)}
    assert balance.seen == balance.in_work + balance.ignored == len(names) + 2
    place.new_desk()
    assert len(place.quiet()) == 2
    assert place.balance.seen == len(names) + 2


@pytest.mark.parametrize("pages", ["numbered"])
def test_a_stream_is_no_page_too_many(tmp_path: Path, pages: str) -> None:
    place = Place(tmp_path, more=f'pages = "{pages}"\nbatch_settle_time = "1 ms"')
    for page in (1, 2):
        place.drop(f"Tờ trình-00{page}.png", paper(str(page)))
        place.drop(f"Tờ trình-00{page}.png:Zone.Identifier", paper(f"zone {page}"))
        place.drop(f"Tờ trình-00{page}.png\uf03aAFP_AfpInfo", paper(f"afp {page}"))
    [document] = place.quiet()
    assert len(place.originals(document)) == 2
    place.settle_up()
