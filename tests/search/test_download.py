"""Pictures from addresses: real servers on loopback, which only a judge of the tests' own lets be asked."""

from __future__ import annotations

import gzip
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
import trustme

import mediasearch
from mediasearch import Address, Crop
from mediasearch.exceptions import PictureRefused, QueryError
from mediasearch.models import Asset, Generation
from mediasearch.search import download, hosts, pictures
from mediasearch.search.download import Network, fetch
from mediasearch.search.hosts import Place
from tests.conftest import MakeAsset, picture
from tests.servers import answer, serving

PNG = picture("red")
HERE = ip_address("127.0.0.1")
ANY_PORT = range(1, 65_536)
CLOSED = "does not exist, or is not open to the internet"


def to(*places: str) -> Callable[[str, float], Sequence[Place]]:
    """A resolver that knows one answer."""
    return lambda name, seconds: [ip_address(place) for place in places]


OPEN = Network(to("127.0.0.1"), lambda place: place == HERE or hosts.is_public(place), ANY_PORT)
"""Names lead to this machine, and it may be asked."""
JUDGED = Network(ports=ANY_PORT)
"""As on a site, but for the ports: those of the tests' servers."""


_recording: list[list[Any]] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _recording:
        _recording[-1].append(arguments[1])


sys.addaudithook(_hear)


@pytest.fixture
def connections() -> Iterator[list[Any]]:
    """All that this process tries to connect to, as Python itself tells of it."""
    _recording.append([])
    yield _recording[-1]
    _recording.pop()


@pytest.fixture(autouse=True)
def _soon(settings: Any) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"FETCH_ADDRESSES": True, "FETCH_SECONDS": 5.0, "MAX_BYTES": 500_000}


def at(port: int, host: str = "pictures.test", path: str = "/a.png", scheme: str = "http") -> Address:
    return Address(f"{scheme}://{host}:{port}{path}")


def test_fetch__what_is_there() -> None:
    with serving(answer(PNG, content_type="image/png")) as server:
        assert fetch(at(server.port, path="/a%20b?c=d#e"), OPEN) == PNG
    (request,) = server.requests
    first, *headers = request.decode().strip().split("\r\n")
    assert first == "GET /a%20b?c=d HTTP/1.1"
    assert dict(header.split(": ", 1) for header in headers) == {
        "Host": f"pictures.test:{server.port}",
        "User-Agent": f"mediasearch/{mediasearch.__version__}",
        "Accept": "image/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }


def test_fetch__in_pieces_and_until_the_end() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"".join(b"%x\r\n%s\r\n" % (len(PNG[i : i + 50]), PNG[i : i + 50]) for i in range(0, len(PNG), 50))
    with serving(chunked + b"0\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n" + PNG) as server:
        assert [fetch(at(server.port), OPEN) for _ in range(2)] == [PNG, PNG]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "017700000001",
        "①②⑦.⓪.⓪.①",
        "0.0.0.0",
        "0",
        "localhost",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[::]",
    ],
)
def test_fetch__this_machine_in_no_form_is_asked(host: str, connections: list[Any]) -> None:
    with serving(answer(PNG)) as server, pytest.raises(PictureRefused, match=CLOSED):
        fetch(at(server.port, host), JUDGED)
    assert (server.accepted, connections) == (0, [])


def test_fetch__this_machine_is_not_asked_at_its_ipv6_address(connections: list[Any]) -> None:
    try:
        with serving(answer(PNG), host="::1") as server, pytest.raises(PictureRefused, match=CLOSED):
            fetch(at(server.port, "[::1]"), JUDGED)
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert (server.accepted, connections) == (0, [])


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",  # The same.
        "0xa9fea9fe",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "168.63.129.16",
        "[fd00::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[ff02::1]",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_fetch__no_network_that_is_not_the_internet_is_asked(scheme: str, host: str, connections: list[Any]) -> None:
    with pytest.raises(PictureRefused, match=CLOSED):
        fetch(Address(f"{scheme}://{host}/latest/meta-data/"))
    assert connections == []


@pytest.mark.parametrize(
    "places",
    [
        ["10.0.0.1"],
        ["93.184.216.34", "10.0.0.1"],
        ["127.0.0.1", "93.184.216.34"],
        ["2606:2800:220:1::1", "::ffff:127.0.0.1"],
        ["93.184.216.34"] * 20 + ["fe80::1"],
        [],
    ],
)
def test_fetch__a_name_with_one_address_inside_is_not_asked(places: list[str], connections: list[Any]) -> None:
    with serving(answer(PNG)) as server, pytest.raises(PictureRefused, match=CLOSED):
        fetch(at(server.port), replace(JUDGED, resolve=to(*places)))
    assert (server.accepted, connections) == (0, [])


def test_fetch__tells_no_name_that_is_inside_from_one_that_is_not_there() -> None:
    def nobody(name: str, seconds: float) -> list[Place]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    said = set()
    for resolve in (nobody, to("10.0.0.1"), to()):
        with pytest.raises(PictureRefused) as caught:
            fetch(Address("http://intranet/"), Network(resolve))
        said.add(str(caught.value))
        assert caught.value.__cause__ is None
    assert len(said) == 1


@pytest.mark.parametrize("port", [22, 25, 6379, 5432, 8080, 0])
def test_fetch__no_other_port_is_asked(port: int, connections: list[Any]) -> None:
    with pytest.raises(PictureRefused, match="ports 80 and 443 only"):
        fetch(at(port), Network(to("93.184.216.34")))
    assert connections == []


def test_fetch__a_name_is_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What leads to one place when it is judged and to another one when it is asked gains nothing."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: str, port: int | None, *args: Any, **kwargs: Any) -> Any:
        if host == "rebinding.test":
            asked.append(host)
            host = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with serving(answer(PNG)) as judged, serving(answer(PNG), host="127.0.0.2") as other:
        network = replace(OPEN, resolve=hosts.resolve)
        assert fetch(at(judged.port, "rebinding.test"), network) == PNG
        asked.clear()
        with pytest.raises(PictureRefused):
            fetch(at(other.port, "rebinding.test"), network)  # Nobody listens there at the address that was judged.
    assert (judged.accepted, other.accepted, asked) == (1, 0, ["rebinding.test"])


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_fetch__follows(status: str) -> None:
    first = answer(status=status, location="/b.png", set_cookie="a=b")
    with serving(first, answer(PNG)) as server:
        assert fetch(at(server.port), OPEN) == PNG
    assert server.requests[1].startswith(b"GET /b.png ")
    assert b"cookie" not in server.requests[1].lower()


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("http://127.0.0.2:{port}/", CLOSED),
        ("//127.0.0.2:{port}/", CLOSED),
        ("http://2130706434:{port}/", CLOSED),
        ("http://[::ffff:127.0.0.2]:{port}/", CLOSED),
        ("http://169.254.169.254/latest/meta-data/", CLOSED),
        ("https://[fd00::1]/", CLOSED),
        ("file:///etc/passwd", "sends on to one that can't be fetched"),
        ("http://user:word@127.0.0.2:{port}/", "sends on to one that can't be fetched"),
        ("http://\x01/", "does not answer as it should|can't be fetched"),
    ],
)
def test_fetch__follows_to_the_internet_only(location: str, sentence: str, connections: list[Any]) -> None:
    def resolve(name: str, seconds: float) -> Sequence[Place]:
        return [HERE] if name == "pictures.test" else hosts.resolve(name, seconds)

    with serving(answer(PNG), host="127.0.0.2") as inside:
        sends = answer(status="302 Found", location=location.format(port=inside.port))
        with serving(sends) as server, pytest.raises(PictureRefused, match=sentence):
            fetch(at(server.port), replace(OPEN, resolve=resolve))
    assert (server.accepted, inside.accepted) == (1, 0)
    assert connections == [("127.0.0.1", server.port)]


def test_fetch__judges_a_name_anew_when_it_is_sent_to_itself(connections: list[Any]) -> None:
    answers = [[HERE], [ip_address("127.0.0.2")]]
    with serving(answer(PNG), host="127.0.0.2") as inside:
        sends = answer(status="302 Found", location=f"http://pictures.test:{inside.port}/")
        with serving(sends) as server, pytest.raises(PictureRefused, match=CLOSED):
            fetch(at(server.port), replace(OPEN, resolve=lambda name, seconds: answers.pop(0)))
    assert (inside.accepted, connections) == (0, [("127.0.0.1", server.port)])


def test_fetch__follows_three_times() -> None:
    sends = answer(status="302 Found", location="/next")
    with serving(sends, sends, sends, answer(PNG)) as server:
        assert fetch(at(server.port), OPEN) == PNG
    with serving(sends) as server, pytest.raises(PictureRefused, match="sends on too often"):
        fetch(at(server.port), OPEN)
    assert server.accepted == 1 + download.REDIRECTS


def test_fetch__asks_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answer(b"from a proxy")) as proxy, serving(answer(PNG)) as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        assert fetch(at(server.port), OPEN) == PNG
    assert (proxy.accepted, server.accepted) == (0, 1)


def test_fetch__tries_another_address_of_the_host() -> None:
    with serving(answer(PNG)) as server:
        places = Network(to("127.0.0.3", "127.0.0.1"), lambda place: True, ANY_PORT)
        assert fetch(at(server.port), places) == PNG


def drip(client: socket.socket) -> None:
    for _ in range(200):
        client.sendall(b"x")
        time.sleep(0.05)


def drip_headers(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    for _ in range(200):
        client.sendall(b"X: y\r\n")
        time.sleep(0.05)


def drip_body(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    drip(client)


def drip_pieces(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(200):
        client.sendall(b"1\r\nx\r\n")
        time.sleep(0.05)


def drip_continues(client: socket.socket) -> None:
    for _ in range(200):
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.05)


def hold(client: socket.socket) -> None:
    while client.recv(4_096):  # Until the other side goes.
        pass


def drip_a_record(client: socket.socket) -> None:
    client.sendall(b"\x16\x03\x03\x3f\xff")  # Of a handshake.
    drip(client)


@pytest.mark.parametrize("reply", [hold, drip_headers, drip_body, drip_pieces, drip_continues])
def test_fetch__a_slow_host_is_left_in_time(settings: Any, reply: Callable[[socket.socket], None]) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"FETCH_SECONDS": 0.5}
    started = time.monotonic()
    with serving(reply) as server:
        with pytest.raises(PictureRefused, match=r"more than 0\.5 seconds"):
            fetch(at(server.port), OPEN)
        assert time.monotonic() - started < 1.5


@pytest.mark.parametrize("reply", [hold, drip_a_record])
def test_fetch__a_host_that_is_slow_to_encrypt_is_left_in_time(
    settings: Any, reply: Callable[[socket.socket], None]
) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"FETCH_SECONDS": 0.5}
    started = time.monotonic()
    with serving(reply, reads=False) as server:
        with pytest.raises(PictureRefused, match=r"more than 0\.5 seconds"):
            fetch(at(server.port, scheme="https"), OPEN)
        assert time.monotonic() - started < 1.5


def test_fetch__redirects_have_one_time_together(settings: Any) -> None:
    def later(client: socket.socket) -> None:
        time.sleep(0.3)
        client.sendall(answer(status="302 Found", location="/next"))

    settings.MEDIASEARCH = settings.MEDIASEARCH | {"FETCH_SECONDS": 0.5}
    with serving(later) as server, pytest.raises(PictureRefused, match=r"more than 0\.5 seconds"):
        fetch(at(server.port), OPEN)
    assert server.accepted == 2


def test_fetch__a_resolver_that_hangs_is_left_in_time(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"FETCH_SECONDS": 0.3}
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: ended.wait(10) and [])
    with pytest.raises(PictureRefused, match=r"more than 0\.3 seconds"):
        fetch(Address("http://slow.test/"))
    ended.set()


def test_fetch__an_endless_body_is_left_at_its_limit() -> None:
    sent = []

    def endless(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(10_000):
            client.sendall(b"x" * 65_536)
            sent.append(65_536)

    with serving(endless) as server, pytest.raises(PictureRefused, match=r"more than 0\.5 MB"):
        fetch(at(server.port), OPEN)
    assert sum(sent) < 50_000_000  # What lay in the buffers of the system, and no more.


def test_fetch__a_body_that_says_it_is_too_large_is_not_read() -> None:
    sent = []

    def large(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n")
        sent.append(client.recv(1))

    with serving(large) as server, pytest.raises(PictureRefused, match=r"more than 0\.5 MB"):
        fetch(at(server.port), OPEN)
    assert sent == [b""]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "x-unknown"])
def test_fetch__nothing_is_unpacked(coding: str) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    with serving(answer(bomb, content_encoding=coding)) as server, pytest.raises(PictureRefused, match="packed"):
        fetch(at(server.port), OPEN)
    with serving(answer(bomb)) as server:
        assert fetch(at(server.port), OPEN) == bomb  # Which the opener refuses.


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (answer(b"<html>", content_type="text/html; charset=utf-8"), "the address of a page"),
        (answer(b"<html>", content_type="Application/XHTML+xml"), "the address of a page"),
        (answer(PNG, status="404 Not Found"), "status 404"),
        (answer(PNG, status="206 Partial Content"), "status 206"),
        (answer(status="304 Not Modified"), "status 304"),
        (answer(status="302 Found"), "status 302"),
        (answer(PNG, status="500 Oh"), "status 500"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "status 101|as it should"),
        (b"", "does not answer as it should"),
        (b"+PONG\r\n", "does not answer as it should"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not answer as it should"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "does not answer as it should"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", "does not answer as it should"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\ncut", "does not answer as it should"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "does not answer as it should"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000, "does not answer as it should"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000, "does not answer as it should"),
    ],
)
def test_fetch__answers_that_are_no_picture(reply: bytes, sentence: str) -> None:
    with serving(reply) as server, pytest.raises(PictureRefused, match=sentence):
        fetch(at(server.port), OPEN)


@pytest.mark.parametrize("host", ["pictures.test", "127.0.0.1"], ids=["a name", "an address"])
def test_fetch__encrypted_for_the_name_that_was_given(host: str) -> None:
    authority, tls, trusting = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(host).configure_cert(tls)
    authority.configure_trust(trusting)
    network = replace(OPEN, certificates=trusting)
    with serving(answer(PNG), tls=tls) as server:
        assert fetch(at(server.port, host, scheme="https"), network) == PNG
        with pytest.raises(PictureRefused, match="does not answer as it should"):
            fetch(at(server.port, "elsewhere.test", scheme="https"), network)
        with pytest.raises(PictureRefused, match="does not answer as it should"):
            fetch(at(server.port, host, scheme="https"), OPEN)  # Nobody knows that authority.
    assert server.names[0] == (host if host == "pictures.test" else None)
    assert len(server.requests) == 1


@pytest.fixture
def library(active_generation: Generation, make_asset: MakeAsset, index_all: Callable[[], None]) -> dict[str, Asset]:
    assets = {colour: make_asset(colour, title=colour) for colour in ("red", "blue")}
    index_all()
    return assets


@pytest.fixture
def _reaching(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "fetch", lambda address: fetch(address, OPEN))


@pytest.mark.django_db
@pytest.mark.usefixtures("_reaching")
def test_search__a_picture_by_its_address(library: dict[str, Asset]) -> None:
    with serving(answer(picture("blue"))) as server:
        results = mediasearch.search(image=at(server.port))
        assert server.accepted == 0  # Not before somebody looks.
        assert results[0].asset == library["blue"]
        assert mediasearch.search(image=Crop(at(server.port), (0.0, 0.0, 0.5, 0.5)))[0].asset == library["blue"]
    assert results.picture
    assert mediasearch.search(image=results.picture)[0].asset == library["blue"]  # Its host is gone.
    assert server.accepted == 2


@pytest.mark.django_db
@pytest.mark.usefixtures("_reaching")
@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"just words", "not an image"),
        (b"", "empty"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (gzip.compress(bytes(10_000_000)), "not an image"),
        (picture("red", (400, 300), "JPEG")[:-400], "damaged or cut short"),
    ],
)
def test_search__what_an_address_gives_is_opened_like_any_file(
    library: dict[str, Asset], body: bytes, sentence: str
) -> None:
    with serving(answer(body, content_type="image/png")) as server, pytest.raises(PictureRefused, match=sentence):
        list(mediasearch.search(image=at(server.port)))


@pytest.mark.parametrize("wrap", [lambda address: address, lambda address: Crop(address, (0, 0, 1, 1))])
def test_take__no_address_where_they_are_off(settings: Any, wrap: Callable[[Address], Any]) -> None:
    settings.MEDIASEARCH = settings.MEDIASEARCH | {"FETCH_ADDRESSES": False}
    with pytest.raises(QueryError, match=r'MEDIASEARCH\["FETCH_ADDRESSES"\] is off'):
        pictures.take(wrap(Address("https://example.org/a.png")))


@pytest.mark.django_db
def test_search__without_the_extra_names_it(library: dict[str, Asset], monkeypatch: pytest.MonkeyPatch) -> None:
    import mediasearch.search as package

    monkeypatch.delattr(package, "download")
    monkeypatch.delitem(sys.modules, "mediasearch.search.download")
    monkeypatch.setitem(sys.modules, "httpcore2", None)
    results = mediasearch.search(image=Address("https://example.org/a.png"))
    with pytest.raises(QueryError, match=r"pip install .mediasearch\[addresses\]"):
        list(results)
