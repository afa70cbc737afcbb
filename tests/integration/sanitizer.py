"""The sanitizer build (make test SAN=1): where the processes of a test leave their reports, and how these fail the test.

Address errors end the process. Every process started by a test inherits the options set here and writes them into one folder, whoever
it runs as; conftest.py looks there after each test. Tests of one pytest process run one after the other, so a report belongs to the
test that has just ended. Undefined behaviour is reported once for each place, and the process goes on. Such reports always go to
standard error (both runtimes export the function that sets the file, and only the first one's is called): an instance's is
logs/error.log, which the node's end looks through, as Gateway.run() does with a verb's.

Leaks are not looked for here: nginx frees its pools only in part when it exits, and the memory of LuaJIT is not
known to the leak check. The unit tests do that, for everything in the core.
"""
import os
import pathlib
import re
import shutil
import tempfile

REPORT = re.compile(r"AddressSanitizer|LeakSanitizer|\.[ch]:\d+:\d+: runtime error: ")
folder = None


def start():
    global folder
    if not os.environ.get("SB_SANITIZER"):
        return
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sb-reports-", dir="/tmp"))
    folder.chmod(0o1777)  # workers run as another user
    # Each of nginx's modules exports the same names (ngx_modules …), by its convention.
    os.environ["ASAN_OPTIONS"] = f"detect_leaks=0:detect_odr_violation=0:log_path={folder}/asan"
    os.environ["UBSAN_OPTIONS"] = "print_stacktrace=1"


def stop():
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def take_reports():
    """The texts of the reports written since the last call."""
    found = []
    for path in sorted(folder.iterdir()) if folder else []:
        found.append(f"{path.name}:\n{path.read_text(errors='replace')[:6000]}")
        path.unlink()
    return found
