"""Nothing in the test set-up can reach another machine: every way out is tried, here and in what tests start."""

import asyncio
import http.server
import importlib.util
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

ROOT = Path(__file__).resolve().parents[1]
GUARD = ROOT / "tests" / "guard"
# tests/conftest.py puts their folder on the path.
loopback_guard = pytest.importorskip("loopback_guard")
ways_in = pytest.importorskip("ways_in")
ways_out = pytest.importorskip("ways_out")

TRY = str(GUARD / "ways_out.py")
SAMPLE = (
    "connect", "connect_v6", "connect_underneath", "sendto", "getaddrinfo", "urllib", "requests", "curl", "curl_by_name",
    "asyncio_stream", "uvloop_stream", "psycopg", "psycopg2", "sqlalchemy", "twilio", "sendgrid",
)  # fmt: skip
FEW = ("connect", "sendto", "getaddrinfo", "curl", "uvloop_stream", "psycopg")
AT_ONCE_S = 5.0
"""Imports included; what waits for an answer, or for a resolver, waits longer or goes out without a refusal."""


def assert_refused(tried):
    for it in tried:
        assert it["refusals"], it
        assert it["error"], it
        assert "imed out" not in it["error"] and it["seconds"] < AT_ONCE_S, it


@pytest.mark.parametrize("name", ways_out.WAYS)
def test_no_way_leads_out(name):
    assert_refused([ways_out.try_way(name)])


def test_the_error_says_so():
    with pytest.raises(AssertionError, match="a test tried to reach an address other than loopback"):
        ways_out.WAYS["connect"]()


@pytest.mark.parametrize("name", loopback_guard.BINDINGS)
def test_what_is_bound_is_there(name):
    assert importlib.util.find_spec(name), "a module of this name would never be imported"


# In what tests start.


def in_subprocess():
    return subprocess.run([sys.executable, TRY, *SAMPLE], capture_output=True, text=True, check=True).stdout


def in_subprocess_with_an_environment_of_its_own():
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "plugins"), "http_proxy": "http://192.0.2.1:3128"}
    command = [sys.executable, TRY, *SAMPLE]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def in_subprocess_of_a_shell():
    command = " ".join([sys.executable, TRY, *FEW])
    return subprocess.run(command, shell=True, env={}, capture_output=True, text=True, check=True).stdout


def in_posix_spawn(path):
    environment = {"PYTHONPATH": str(ROOT / "plugins")}
    out = [(os.POSIX_SPAWN_OPEN, 1, str(path), os.O_WRONLY | os.O_CREAT, 0o600)]
    pid = os.posix_spawn(sys.executable, [sys.executable, TRY, *FEW], environment, file_actions=out)
    assert os.waitpid(pid, 0)[1] == 0
    return path.read_text()


def in_execve(path):
    code = (
        f"import os, sys; os.dup2(os.open({str(path)!r}, os.O_WRONLY | os.O_CREAT), 1); "
        f"os.execve(sys.executable, [sys.executable, {TRY!r}, *{FEW!r}], {{}})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    return path.read_text()


async def _in_asyncio():
    made = await asyncio.create_subprocess_exec(sys.executable, TRY, *FEW, stdout=subprocess.PIPE, env={})
    return (await made.communicate())[0]


def in_asyncio():
    return asyncio.run(_in_asyncio())


def in_uvloop():
    import uvloop

    return uvloop.run(_in_asyncio())


@pytest.mark.parametrize(
    "start",
    [in_subprocess, in_subprocess_with_an_environment_of_its_own, in_subprocess_of_a_shell, in_asyncio, in_uvloop],
)
def test_no_way_leads_out_of_a_child(start):
    assert_refused(json.loads(start()))


@pytest.mark.parametrize("start", [in_posix_spawn, in_execve])
def test_no_way_leads_out_of_a_child_that_python_does_not_watch(start, tmp_path):
    assert_refused(json.loads(start(tmp_path / "said")))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_no_way_leads_out_of_multiprocessing(method, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "plugins"))
    context = multiprocessing.get_context(method)
    results = context.Queue()
    child = context.Process(target=ways_out.put_all, args=(results, SAMPLE))
    child.start()
    assert_refused(results.get(timeout=60))
    child.join()


def test_no_way_leads_out_of_a_grandchild():
    code = f"import subprocess, sys; subprocess.run([sys.executable, {TRY!r}, *sys.argv[1:]], env={{}})"
    said = subprocess.run([sys.executable, "-c", code, *FEW], capture_output=True, text=True, check=True).stdout
    assert_refused(json.loads(said))


def test_without_the_guard_a_child_does_not_start(tmp_path):
    shutil.copy(GUARD / "sitecustomize.py", tmp_path)
    (tmp_path / "loopback_guard.py").write_text("def install(): raise OSError('broken')")
    # -I: neither guarded nor guarding, it starts the child as it is told.
    code = "import os, sys; os.execve(sys.executable, [sys.executable, '-c', 'print(1)'], {'PYTHONPATH': sys.argv[1]})"
    command = [sys.executable, "-I", "-c", code, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (70, "")
    assert "broken" in done.stderr


def test_another_sitecustomize_runs_too(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.was_customized = 'by another'")
    code = "import loopback_guard, sys; print(sys.was_customized, loopback_guard._watcher in sys.meta_path)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout == "by another True\n"


def test_proxies_are_off_and_the_product_is_told():
    code = "import os; print([n for n in sorted(os.environ) if 'proxy' in n.lower() or n == 'RETENTION_LOOPBACK_ONLY'])"
    proxies = {"http_proxy": "http://192.0.2.1:1", "ALL_PROXY": "http://192.0.2.1:1", "NO_PROXY": "kept"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=proxies, capture_output=True, text=True, check=True)
    assert done.stdout == "['NO_PROXY', 'RETENTION_LOOPBACK_ONLY']\n"
    assert os.environ["RETENTION_LOOPBACK_ONLY"] == "1"


def test_git_reaches_files_only(tmp_path):
    for address in ("https://192.0.2.1/x", "ssh://192.0.2.1/x", "git://192.0.2.1/x"):
        done = subprocess.run(["git", "ls-remote", address], env={}, capture_output=True, text=True, check=False)
        assert "not allowed" in done.stderr
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    subprocess.run(["git", "ls-remote", f"file://{tmp_path}"], check=True)


@pytest.mark.browser
@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium")
@pytest.mark.parametrize("address", ["http://192.0.2.1/", "http://example.com/", "http://[2001:db8::1]/"])
def test_a_browser_finds_no_other_machine(address, site):
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        assert page.goto(site).status == 200
        with pytest.raises(Error, match="ERR_PROXY_CONNECTION_FAILED"):
            page.goto(address, timeout=5000)
        browser.close()


# This machine can be reached.


@pytest.fixture
def site():
    """The address of a web server on loopback."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"here")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_this_machine_is_reached_from_here_and_from_a_child(site):
    ways_in.reach(site)
    done = subprocess.run([sys.executable, GUARD / "ways_in.py", site], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_loopback_of_the_newer_protocol_is_reached():
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server, socket.create_connection(server.getsockname()[:2]):
        pass


def test_the_database_is_reached_with_every_driver(engine):
    import psycopg2

    address = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with engine.connect() as conn:
        assert conn.execute(text("select 1")).scalar() == 1
    psycopg2.connect(address).close()
