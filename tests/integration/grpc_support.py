"""A gRPC service and its client, without generated code: messages are bytes. Methods do what their names say (see Service)."""
import concurrent.futures
import threading
import time

import grpc

SERVICE = "echo.Echo"
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.enable_retries", 0)]


class Service(grpc.GenericRpcHandler):
    """What came with each call is kept in `calls`: method and metadata. `health` is the answer of the health service, a message as bytes;
    None: there is no such service."""

    def __init__(self):
        self.calls = []
        self.health = None
        self.cancelled = threading.Event()

    def service(self, details):
        self.calls.append((details.method, {m.key: m.value for m in details.invocation_metadata}))
        if details.method == "/grpc.health.v1.Health/Check":
            return grpc.unary_unary_rpc_method_handler(self.Check) if self.health is not None else None
        kinds = {"Unary": grpc.unary_unary_rpc_method_handler, "Fail": grpc.unary_unary_rpc_method_handler,
                 "Slow": grpc.unary_unary_rpc_method_handler, "Count": grpc.unary_stream_rpc_method_handler,
                 "Endless": grpc.unary_stream_rpc_method_handler, "Break": grpc.unary_stream_rpc_method_handler,
                 "Sum": grpc.stream_unary_rpc_method_handler, "Chat": grpc.stream_stream_rpc_method_handler}
        name = details.method.rsplit("/", 1)[-1]
        return kinds[name](getattr(self, name)) if name in kinds else None

    def Check(self, request, context):
        return self.health

    def Unary(self, request, context):
        context.send_initial_metadata((("x-initial", "from-service"), ("server", "a-service")))
        context.set_trailing_metadata((("x-trailing", "at-the-end"), ("x-bytes-bin", b"\x00\xff")))
        return request

    def Fail(self, request, context):
        context.set_trailing_metadata((("x-reason", "because"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: 50% of ü")

    def Slow(self, request, context):
        while context.is_active():
            time.sleep(0.01)
        self.cancelled.set()
        return request

    def Count(self, request, context):
        for i in range(int(request)):
            yield b"%d" % i

    def Endless(self, request, context):
        context.add_callback(self.cancelled.set)
        while context.is_active():
            yield b"more"
            time.sleep(0.01)

    def Break(self, request, context):
        yield b"one"
        context.abort(grpc.StatusCode.DATA_LOSS, "broken off")

    def Sum(self, requests, context):
        return b"%d" % sum(int(m) for m in requests)

    def Chat(self, requests, context):
        for message in requests:
            yield b"re: " + message


class Server:
    """credentials: see grpc.ssl_server_credentials; None: without TLS."""

    def __init__(self, credentials=None):
        self.service = Service()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), [self.service], options=OPTIONS)
        self.port = self.server.add_secure_port("127.0.0.1:0", credentials) if credentials else self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def close(self):
        self.server.stop(None).wait(30)

    @property
    def calls(self):
        return self.service.calls


def call(channel, method, kind="unary_unary"):
    return getattr(channel, kind)(f"/{SERVICE}/{method}")


def channel(port, credentials=None, name=None):
    options = OPTIONS + ([("grpc.ssl_target_name_override", name)] if name else [])
    if credentials is not None:
        return grpc.secure_channel(f"127.0.0.1:{port}", credentials, options)
    return grpc.insecure_channel(f"127.0.0.1:{port}", options)
