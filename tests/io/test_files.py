"""`mediakit.io.files`: checks before reading, and writes that finish or leave nothing behind."""

import errno
import hashlib
import os
import pathlib
import stat
import subprocess
import sys

import pytest

from mediakit.errors import MediaError
from mediakit.io import atomic_path, check_readable, check_writable, sha256, write_bytes, write_text


def test_check_readable_returns_the_path(tmp_path):
    (tmp_path / "a").write_text("x")
    assert check_readable(str(tmp_path / "a")) == tmp_path / "a"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.mp4", "does not exist"),
        ("folder", "is a folder"),
        ("empty.mp4", "zero bytes"),
        ("pipe", "is a device"),
    ],
)
def test_check_readable_says_what_is_wrong(tmp_path, name, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.mp4").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MediaError, match=message) as caught:
        check_readable(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_check_readable_refuses_urls(kind):
    url = kind("http://example.com/a.mp4")
    with pytest.raises(MediaError, match=r"is a URL.*Download it first") as caught:
        check_readable(url)
    assert str(caught.value).startswith(str(url))


def test_a_file_may_look_like_a_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd:").mkdir()
    (tmp_path / "odd:" / "a.mp4").write_text("x")
    assert check_readable("odd://a.mp4").name == "a.mp4"


def test_an_empty_name_is_called_so():
    with pytest.raises(MediaError, match="the name of the file to read is empty"):
        check_readable("")
    for check in (check_writable, lambda path: write_text(path, "x")):
        with pytest.raises(MediaError, match="the name of the file to write is empty"):
            check("")


def test_standard_output_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MediaError, match=r"^-: standard output is not supported"):
        write_text("-", "x")
    read_end, write_end = os.pipe()
    with pytest.raises(MediaError, match=r"cannot be replaced.*Name an ordinary file"):
        write_text(f"/dev/fd/{write_end}", "x")  # what /dev/stdout is before a pipe
    for end in (read_end, write_end):
        os.close(end)
    with pytest.raises(MediaError, match="cannot be replaced"):
        check_writable("/dev/null")
    assert os.listdir(tmp_path) == []


def test_check_readable_without_permission(tmp_path, request):
    path = tmp_path / "secret.mp4"
    path.write_text("x")
    path.chmod(0)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    request.getfixturevalue("as_nobody")
    with pytest.raises(MediaError, match="permission denied"):
        check_readable(path)


def test_sha256_agrees_with_hashlib_beyond_one_piece(tmp_path):
    data = os.urandom((1 << 20) + 12345)
    (tmp_path / "a").write_bytes(data)
    assert sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_atomic_path_replaces_in_one_step(tmp_path):
    target = tmp_path / "a.mp4"
    target.write_text("old")
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".mp4"
        assert temporary.name.startswith(".")
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_atomic_path_takes_another_suffix(tmp_path):
    with atomic_path(tmp_path / "a.partial", suffix=".mkv") as temporary:
        assert temporary.suffix == ".mkv"


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_atomic_path_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(type(error)), atomic_path(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_permissions_are_those_of_an_ordinary_new_file(tmp_path):
    (tmp_path / "plain").write_text("x")
    write_text(tmp_path / "ours", "x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_permissions_of_a_replaced_file_stay(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o640)
    write_text(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "there" / "a")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "a").read_text() == "new"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent/a.txt", "No such file or directory"),
        ("folder", "Is a directory"),
        ("file/a.txt", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("pipe", "cannot be replaced"),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path, name, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(MediaError, match=message) as caught:
        write_bytes(tmp_path / name, b"data")
    assert caught.value.path == str(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_closed_folder_is_named(tmp_path, request):
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    request.getfixturevalue("as_nobody")
    with pytest.raises(MediaError, match=r"Permission denied.*may write to"):
        write_text(tmp_path / "a.txt", "x")


def test_an_os_error_in_the_block_counts_as_failure_to_write(tmp_path):
    with pytest.raises(MediaError, match=r"No space left on device.*Free some space"), atomic_path(tmp_path / "a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert os.listdir(tmp_path) == []


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
from mediakit.errors import MediaError
from mediakit.io.files import write_bytes
try:
    write_bytes(sys.argv[1], bytes(5000))
except MediaError as error:
    print(error)
"""


def test_a_file_that_grows_too_large_is_named_and_leaves_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "a.bin")], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"{tmp_path / 'a.bin'}: cannot be written (File too large)")
    assert os.listdir(tmp_path) == []


def test_check_writable_says_early_what_writing_would_say_late(tmp_path):
    check_writable(tmp_path / "new.txt")
    (tmp_path / "old.txt").write_text("kept")
    check_writable(tmp_path / "old.txt")
    assert (tmp_path / "old.txt").read_text() == "kept"
    assert [p.name for p in tmp_path.iterdir()] == ["old.txt"]
    for bad in (tmp_path, tmp_path / "no" / "a.txt", tmp_path / "old.txt" / "a.txt", tmp_path / ("x" * 300)):
        with pytest.raises(MediaError) as early:
            check_writable(bad)
        with pytest.raises(MediaError) as late:
            write_text(bad, "x")
        assert str(early.value) == str(late.value)
