"""What reaches standard error while native code is kept quiet."""

import os
import subprocess
import sys

import pytest

from mediakit.quiet import quiet_native_code


def test_python_is_heard_and_native_code_is_not(capfd):
    with quiet_native_code():
        os.write(2, b"native\n")
        subprocess.run([sys.executable, "-c", "import sys; print('child', file=sys.stderr)"], check=True)
        print("python", file=sys.stderr)
    os.write(2, b"native again\n")
    print("python again", file=sys.stderr)
    err = capfd.readouterr().err
    assert "native\n" not in err
    assert "child" not in err
    for heard in ("python\n", "native again\n", "python again\n"):
        assert heard in err


def test_all_is_put_back_after_an_error(capfd):
    stream = sys.stderr
    with pytest.raises(RuntimeError, match="inside"), quiet_native_code():
        raise RuntimeError("inside")
    assert sys.stderr is stream
    os.write(2, b"native\n")
    assert capfd.readouterr().err == "native\n"
