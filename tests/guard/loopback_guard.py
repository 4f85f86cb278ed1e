"""Lets nothing in a test leave this machine, in this process and in every Python process that it starts.

Two layers. An audit hook, which nothing can remove, refuses what Python's own sockets do. What has sockets of its own in
C - libcurl, libpq, libuv, chromium - is bound where Python enters it, when it is imported.

Out of reach: programs that are not Python (`git` is held to files, a browser to this machine), `python -I`, `-E` and
`-S`, and the sockets of polars (scan_* of an https address) and grpc.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, MutableMapping
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
KEPT = {"RETENTION_LOOPBACK_ONLY": "1", "GIT_ALLOW_PROTOCOL": "file"}
RESOLVERS = frozenset((53, 853, 5353))
"""Ports of resolvers: one on this machine asks others."""


class ReachedOut(AssertionError):
    """A test tried to talk to an address that is not this machine."""


refusals: list[str] = []
"""What was refused in this process: a library may make another error of it, or none."""


def refuse(what: str) -> None:
    """Note it and raise ReachedOut."""
    refusals.append(what)
    raise ReachedOut(f"a test tried to {what}")


def install() -> None:
    """Guard this process and those that it starts. A second call does nothing."""
    if _watcher in sys.meta_path:
        return
    for name in list(os.environ):
        if name.lower().endswith("_proxy") and name.lower() != "no_proxy":
            del os.environ[name]
    os.environ.setdefault("NO_PROXY", "127.0.0.1,localhost,::1")
    arm(os.environ)
    sys.addaudithook(_hear)
    sys.meta_path.insert(0, _watcher)
    for name, bind in BINDINGS.items():
        if name in sys.modules:
            bind(sys.modules[name])


def arm(environment: MutableMapping[str, str]) -> None:
    """Make a Python process with this environment start guarded."""
    places = [place for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place]
    if places[:1] != [HERE]:
        environment["PYTHONPATH"] = os.pathsep.join([HERE, *(place for place in places if place != HERE)])
    for name, value in KEPT.items():
        if environment.get(name) != value:
            environment[name] = value


def _armed(environment: Any) -> Any:
    if environment is None:
        arm(os.environ)
        return None
    copy = {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()}
    arm(copy)
    return copy


# Addresses.


def is_here(host: object) -> bool:
    """Whether a name or an address, or none, is this machine's loopback."""
    import ipaddress

    if isinstance(host, (bytes, bytearray)):
        host = host.decode(errors="replace")
    if host in (None, "", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _check_address(address: Any, family: Any = None) -> None:
    """Of a socket: (host, port, ...) or, for what never leaves the machine, something else."""
    import socket

    if address is None or family in (getattr(socket, "AF_UNIX", None), getattr(socket, "AF_NETLINK", None)):
        return
    if not isinstance(address, tuple) or not is_here(address[0]):
        refuse("reach an address other than loopback")
    if len(address) > 1 and address[1] in RESOLVERS:
        refuse("ask a resolver")


def _check_socket(socket: Any, address: Any) -> None:
    _check_address(address, socket.family)


def _check_name(host: Any, *_: Any) -> None:
    import socket

    if is_here(host) or host in ("0.0.0.0", "::", b"0.0.0.0", b"::"):
        return
    if host == os.uname().nodename:
        # Software asks for its own machine by habit, and does without an answer.
        raise socket.gaierror(socket.EAI_NONAME, "a test does not look up its own machine")
    refuse("look up a host other than loopback")


CHECKS: dict[str, Callable[..., None]] = {
    "socket.connect": _check_socket,
    "socket.sendto": _check_socket,
    "socket.sendmsg": _check_socket,
    "socket.getaddrinfo": _check_name,
    "socket.gethostbyname": _check_name,
    "socket.gethostbyaddr": _check_name,
    "socket.getnameinfo": _check_address,
    **dict.fromkeys(("os.exec", "os.posix_spawn", "os.system", "subprocess.Popen"), lambda *_: arm(os.environ)),
}


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    check = CHECKS.get(event)
    if check is not None:
        check(*arguments)


# What is bound when it is imported.


class _Watcher:
    """Binds a module right after it is imported."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        bind = BINDINGS.get(name)
        spec = PathFinder.find_spec(name, path) if bind else None
        if bind is None or spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            bind(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


_watcher = _Watcher()


def _bind_socket(module: Any) -> None:
    """Python looks the name up before it says that it connects: ask before."""

    def bind(name: str, find: Callable[[tuple[Any, ...]], Any]) -> None:
        original = getattr(module.socket, name, None)

        def guarded(self: Any, *arguments: Any) -> Any:
            _check_address(find(arguments), self.family)
            return original(self, *arguments)  # type: ignore[misc]

        if original is not None:
            setattr(module.socket, name, guarded)

    bind("connect", lambda given: given[0])
    bind("connect_ex", lambda given: given[0])
    bind("sendto", lambda given: given[-1])
    bind("sendmsg", lambda given: given[3] if len(given) > 3 else None)


def _bind_subprocess(module: Any) -> None:
    original = module.Popen.__init__

    def __init__(self: Any, *arguments: Any, **options: Any) -> None:
        if len(arguments) > 10:
            arguments = (*arguments[:10], _armed(arguments[10]), *arguments[11:])
        else:
            options["env"] = _armed(options.get("env"))
        original(self, *arguments, **options)

    module.Popen.__init__ = __init__


def _bind_os(module: Any) -> None:
    for name in ("execve", "posix_spawn", "posix_spawnp"):
        _wrap(module, name, lambda path, argv, env, *rest, **options: ((path, argv, _armed(env), *rest), options))


def _bind_multiprocessing(module: Any) -> None:
    def check(*arguments: Any) -> Any:
        arm(os.environ)
        return arguments, {}

    _wrap(module, "spawnv_passfds", check)


def _wrap(owner: Any, name: str, prepare: Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]) -> None:
    original = getattr(owner, name, None)

    def guarded(*arguments: Any, **options: Any) -> Any:
        arguments, options = prepare(*arguments, **options)
        return original(*arguments, **options)  # type: ignore[misc]

    if original is not None:
        setattr(owner, name, guarded)


def _bind_libpq(module: Any) -> None:
    """psycopg: module generators, connect(conninfo). psycopg2: connect(dsn), private, which the public one goes through."""
    name = "connect" if module.__name__ == "psycopg.generators" else "_connect"

    def prepare(conninfo: Any, *rest: Any, **options: Any) -> Any:
        if name == "connect":
            from psycopg.conninfo import conninfo_to_dict as read
        else:
            from psycopg2.extensions import parse_dsn as read
        said = read(conninfo)
        service = said.get("service") or os.environ.get("PGSERVICE")
        if service:
            refuse("reach a database by the name of a service")
        for key, variable in (("host", "PGHOST"), ("hostaddr", "PGHOSTADDR")):
            for host in str(said.get(key) or os.environ.get(variable) or "").split(","):
                if not host.startswith(("/", "@")) and not is_here(host):
                    refuse("reach a database other than on loopback")
        return (conninfo, *rest), options

    _wrap(module, name, prepare)


def _bind_uvloop(module: Any) -> None:
    """Its sockets, lookups and processes are libuv's."""
    loop = module.Loop

    def bind(name: str, check: Callable[..., Any]) -> None:
        original = getattr(loop, name)

        async def guarded(self: Any, *arguments: Any, **options: Any) -> Any:
            check(*arguments, **options)
            return await original(self, *arguments, **options)

        setattr(loop, name, guarded)

    def check_datagrams(factory: Any, local_addr: Any = None, remote_addr: Any = None, **options: Any) -> None:
        _check_address(remote_addr, options.get("family"))
        # Whoever is bound to loopback reaches nothing else.
        if options.get("sock") is not None:
            _check_socket(options["sock"], options["sock"].getsockname())
        elif remote_addr is None:
            _check_address(local_addr or ("0.0.0.0",), options.get("family"))

    bind("create_connection", lambda factory, host=None, port=None, **_: _check_address((host, port)))
    bind("create_datagram_endpoint", check_datagrams)
    bind("sock_connect", lambda sock, address: _check_socket(sock, address))
    bind("getaddrinfo", _check_name)
    bind("getnameinfo", lambda address, *_: _check_address(address))
    for name in ("subprocess_exec", "subprocess_shell"):
        _wrap(loop, name, lambda *arguments, **options: (arguments, {**options, "env": _armed(options.get("env"))}))


def _bind_pycurl(module: Any) -> None:
    import socket
    from urllib.parse import urlsplit

    contacts = (module.URL, module.PROXY, module.PRE_PROXY)
    ways_around = (module.RESOLVER_START_FUNCTION, module.DOH_URL, module.DNS_SERVERS, module.CONNECT_TO)
    # A redirect leads to hosts that nobody sees before libcurl asks for them.
    ways_around += (module.FOLLOWLOCATION,)

    def is_name_elsewhere(place: Any) -> bool:
        """Whether libcurl would have to ask a resolver for it: what is an address is refused when it opens a socket."""
        import ipaddress

        text = place.decode() if isinstance(place, bytes) else str(place)
        host = urlsplit(text if "://" in text else f"//{text}").hostname or ""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return not is_here(host)
        return False

    class Curl(module.Curl):
        """A handle that opens sockets to loopback alone and looks up no name."""

        def __new__(cls, *arguments: Any, **options: Any) -> Any:
            handle = super().__new__(cls, *arguments, **options)
            handle._arm()
            return handle

        def _arm(self) -> None:
            self._open, self._contacts = None, {}
            super().setopt(module.PROXY, "")  # none from the environment
            super().setopt(module.OPENSOCKETFUNCTION, self._open_here)
            super().setopt(module.RESOLVER_START_FUNCTION, self._may_look_up)

        def _open_here(self, purpose: int, address: Any) -> Any:
            family, kind, protocol, place = address
            try:
                _check_address(place, family)
            except ReachedOut:
                return module.SOCKET_BAD
            return self._open(purpose, address) if self._open else socket.socket(family, kind, protocol)

        def _may_look_up(self) -> int:
            elsewhere = any(is_name_elsewhere(place) for place in self._contacts.values() if place)
            if elsewhere:
                refusals.append("look up a host other than loopback with libcurl")
            return int(elsewhere)

        def setopt(self, option: int, value: Any, **options: Any) -> None:
            if option == module.OPENSOCKETFUNCTION:
                self._open = value
            elif option in ways_around and value:
                refuse("give libcurl a way of its own to find hosts")
            elif option != module.RESOLVER_START_FUNCTION:
                if option == module.PROXY:
                    value = value or ""
                super().setopt(option, value, **options)
                if option in contacts:
                    self._contacts[option] = value

        def setopt_string(self, option: int, value: Any) -> None:
            self.setopt(option, value)

        def unsetopt(self, option: int) -> None:
            self.setopt(option, None)

        def reset(self) -> None:
            super().reset()
            self._arm()

        def duphandle(self) -> Any:
            copy = super().duphandle()
            copy._arm()
            copy._open, copy._contacts = self._open, dict(self._contacts)
            return copy

    module.Curl = Curl


def _bind_playwright(module: Any) -> None:
    """Chromium asks a proxy for all but this machine, and there is none."""
    flags = ["--proxy-server=127.0.0.1:1", "--proxy-bypass-list=localhost;127.0.0.1;[::1]"]
    flags += ["--force-webrtc-ip-handling-policy=disable_non_proxied_udp"]

    def prepare(*arguments: Any, **options: Any) -> Any:
        return arguments, {**options, "args": [*(options.get("args") or ()), *flags]}

    for name in ("launch", "launch_persistent_context"):
        _wrap(module.BrowserType, name, prepare)


BINDINGS: dict[str, Callable[[Any], None]] = {
    "os": _bind_os,
    "socket": _bind_socket,
    "subprocess": _bind_subprocess,
    "multiprocessing.util": _bind_multiprocessing,
    "psycopg.generators": _bind_libpq,
    "psycopg2": _bind_libpq,
    "uvloop": _bind_uvloop,
    "pycurl": _bind_pycurl,
    "playwright._impl.browser_type": _bind_playwright,
}
