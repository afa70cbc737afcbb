"""A name server on loopback for tests: answers from a table, counts what it was asked, and can misbehave on purpose.

    with DnsServer({("web.test", "A"): [("192.0.2.1", 60)]}) as dns:
        dns.port, dns.asked[("web.test", "A")]

Values of the table: a list of (address or canonical name, ttl), for SRV ("priority weight port target", ttl); or an rcode (int, e.g. 2
for SERVFAIL); or DROP, which never answers; or bytes, sent as the answer behind the question's id; or a callable that returns one of these. Names that are not in the table do not exist (NXDOMAIN), unless they are
there with another type (no data).
"""
import collections
import ipaddress
import socket
import struct
import threading

TYPES = {1: "A", 5: "CNAME", 28: "AAAA", 33: "SRV"}
CODES = {name: code for code, name in TYPES.items()}
NXDOMAIN = 3
DROP = object()


def encode_name(name):
    out = b""
    for label in name.rstrip(".").split("."):
        out += bytes([len(label)]) + label.encode()
    return out + b"\0"


def decode_name(data, at):
    labels = []
    while data[at] != 0:
        length = data[at]
        labels.append(data[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels).lower(), at + 1


def record(name, kind, value, ttl):
    if kind == "CNAME":
        rdata = encode_name(value)
    elif kind == "SRV":
        priority, weight, port, target = value.split()
        rdata = struct.pack("!HHH", int(priority), int(weight), int(port)) + encode_name(target)
    else:
        rdata = ipaddress.ip_address(value).packed
    return encode_name(name) + struct.pack("!HHIH", CODES[kind], 1, ttl, len(rdata)) + rdata


class DnsServer:
    def __init__(self, table=None):
        self.table = dict(table or {})
        self.asked = collections.Counter()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.held = []
        self.hold = False
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def release(self):
        """Sends the answers that were kept back while hold was set."""
        self.hold = False
        while self.held:
            self.sock.sendto(*self.held.pop(0))

    def _serve(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            reply = self._answer(data)
            if reply is None:
                continue
            if self.hold:
                self.held.append((reply, peer))
                continue
            try:
                self.sock.sendto(reply, peer)
            except OSError:  # the test is over
                return

    def _find(self, name, kind):
        value = self.table.get((name, kind))
        if callable(value):
            value = value()
        if value is None:
            known = any(n == name for n, _ in self.table)
            return [] if known else NXDOMAIN
        return value

    def _answer(self, data):
        ident, _flags, _questions = struct.unpack("!HHH", data[:6])
        name, at = decode_name(data, 12)
        kind = TYPES.get(struct.unpack("!H", data[at : at + 2])[0], "?")
        self.asked[(name, kind)] += 1
        value = self._find(name, kind)
        if value is DROP:
            return None
        if isinstance(value, bytes):
            return data[:2] + value
        rcode, answers = (value, []) if isinstance(value, int) else (0, value)
        if rcode == 0 and not answers and (name, "CNAME") in self.table:
            target, ttl = self.table[(name, "CNAME")][0]
            final = self._find(target, kind)
            answers = [(name, "CNAME", target, ttl)]
            answers += [(target, kind, *a) for a in final] if isinstance(final, list) else []
        else:
            answers = [(name, kind, *a) for a in answers]
        head = struct.pack("!HHHHHH", ident, 0x8180 | rcode, 1, len(answers), 0, 0)
        return head + data[12 : at + 4] + b"".join(record(*a) for a in answers)
