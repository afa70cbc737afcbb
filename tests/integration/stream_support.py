"""Servers and clients for the tests of streams: TCP, UDP and TLS echoes that say who they are."""
import contextlib
import socket
import ssl
import threading


class TcpEcho:
    """Answers each piece with its name before it; closes when the client has finished. `greeting` is sent first, unasked. With `context` it
    speaks TLS."""

    def __init__(self, port, name="echo", greeting=b"", context=None):
        self.port, self.name, self.greeting, self.context = port, name.encode(), greeting, context
        self.connections = 0
        self.server_names = []  # asked for, with TLS
        self.shown = []         # subjects of client certificates
        if context:
            context.sni_callback = lambda sock, name, ctx: self.server_names.append(name)
        self.sock = socket.create_server(("127.0.0.1", port), backlog=64)
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                client, _ = self.sock.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with contextlib.suppress(OSError), contextlib.closing(client):
            if self.context:
                client = self.context.wrap_socket(client, server_side=True)
                self.shown.append(client.getpeercert())
            client.sendall(self.greeting)
            while data := client.recv(65536):
                client.sendall(self.name + b":" + data)

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.thread.join(10)


class UdpEcho:
    """Answers each datagram with its name before it."""

    def __init__(self, port, name="echo"):
        self.port, self.name = port, name.encode()
        self.peers = []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", port))
        self.sock.settimeout(0.1)
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while not self.ending.is_set():
            with contextlib.suppress(OSError):
                data, peer = self.sock.recvfrom(65536)
                self.peers.append(peer)
                self.sock.sendto(self.name + b":" + data, peer)

    def close(self):
        self.ending.set()
        self.thread.join(10)
        self.sock.close()


def connect(port, source_port=0, timeout=20):
    return socket.create_connection(("127.0.0.1", port), timeout=timeout, source_address=("127.0.0.1", source_port))


def connect_tls(port, name=None, ca=None, timeout=20):
    """A TLS connection that asks for `name`; verified when `ca` is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if ca:
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context.wrap_socket(connect(port, timeout=timeout), server_hostname=name)


def say(sock, text):
    """Sends text and returns what comes back, as text; "" when the other side closes."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(text.encode())
        return sock.recv(65536).decode()
    return ""


def ask(port, text="hi", **options):
    with connect(port, **options) as sock:
        return say(sock, text)


def ask_tls(port, text="hi", **options):
    with connect_tls(port, **options) as sock:
        return say(sock, text)


def ask_udp(port, text="hi", timeout=20):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        sock.sendto(text.encode(), ("127.0.0.1", port))
        return sock.recv(65536).decode()
