"""HTTP/2 by hand: frames and header blocks as a test wants them, well formed or not. Nothing is checked, completed or lower-cased."""
import socket
import ssl
import struct

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def hpack_text(text):
    """A string of a header block, not Huffman coded."""
    text, n = as_bytes(text), len(as_bytes(text))
    if n < 127:
        return bytes([n]) + text
    out, n = b"\x7f", n - 127
    while n >= 128:
        out, n = out + bytes([n % 128 + 128]), n // 128
    return out + bytes([n]) + text


def block(fields):
    """A header block of literals that leave no trace in the table."""
    return b"".join(b"\x00" + hpack_text(name) + hpack_text(value) for name, value in fields)


class RawH2:
    """A connection with TLS on which a test writes the frames it likes."""

    def __init__(self, port, timeout=30):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        self.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=timeout), server_hostname="h")
        assert self.sock.selected_alpn_protocol() == "h2"
        self.decoder, self.buffer = hpack.Decoder(), b""
        self.sock.sendall(PREFACE + frame(SETTINGS))

    def send(self, *args):
        self.sock.sendall(frame(*args))
        return self

    def request(self, fields, body=None, stream=1, trailers=None):
        """The fields as one HEADERS frame, the body (bytes, or None: none) as one DATA frame."""
        self.send(HEADERS, END_HEADERS | (END_STREAM if body is None else 0), stream, block(fields))
        if body is not None:
            self.send(DATA, 0 if trailers else END_STREAM, stream, as_bytes(body))
        if trailers:
            self.send(HEADERS, END_HEADERS | END_STREAM, stream, block(trailers))
        return self

    def exactly(self, n):
        while len(self.buffer) < n:
            try:
                more = self.sock.recv(65536)
            except (ConnectionResetError, ssl.SSLError):
                more = b""
            if not more:
                return None
            self.buffer += more
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def frame(self):
        """(kind, flags, stream, payload); None at the end of the connection."""
        head = self.exactly(9)
        if head is None:
            return None
        payload = self.exactly(int.from_bytes(head[:3], "big"))
        return None if payload is None else (head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7fffffff, payload)

    def answer(self, stream=1):
        """(status, headers, body). The status is a number, or "reset", "goaway" or "closed" when there was no answer."""
        headers, body = {}, b""
        while (got := self.frame()) is not None:
            kind, flags, number, payload = got
            if kind == SETTINGS and not flags & ACK:
                self.send(SETTINGS, ACK)
            elif kind == GOAWAY:
                return "goaway", headers, body
            elif number == stream and kind == RST_STREAM:
                return "reset", headers, body
            elif number == stream and kind == HEADERS:
                headers.update(self.decoder.decode(payload))
            elif number == stream and kind == DATA:
                body += payload
            if number == stream and flags & END_STREAM and kind in (HEADERS, DATA):
                return int(headers[":status"]), headers, body
        return "closed", headers, body

    def close(self):
        self.sock.close()
