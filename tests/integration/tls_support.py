"""Certificates for tests, made in this process, and a look at what a TLS listener shows."""
import datetime
import itertools
import socket
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_serials = itertools.count(1000)


class Cert:
    """A certificate with its key. `issuer` (a Cert) signs it, else its own key does."""

    def __init__(self, name, issuer=None, kind="ec", ca=False, days=30, key=None, extensions=()):
        self.key = key or (ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.x509.subject if issuer else subject)
                   .public_key(self.key.public_key()).serial_number(next(_serials))
                   .not_valid_before(now - datetime.timedelta(days=60)).not_valid_after(now + datetime.timedelta(days=days))
                   .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
                   .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        self.x509 = builder.sign(issuer.key if issuer else self.key, hashes.SHA256())
        self.name = name

    @property
    def pem(self):
        return self.x509.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def der(self):
        return self.x509.public_bytes(serialization.Encoding.DER)

    @property
    def key_pem(self):
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()

    @property
    def pair(self):
        """As the Admin API takes it."""
        return {"cert": self.pem, "key": self.key_pem}

    def files(self, folder):
        """(certificate, key) as files in folder."""
        cert, key = folder / f"{self.name}.crt", folder / f"{self.name}.key"
        cert.write_text(self.pem)
        key.write_text(self.key_pem)
        return cert, key


def client_context(ciphers=None, version=None, alpn=None):
    """Of a client that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version:
        context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def shown(gw, name=None, context=None):
    """The certificate (DER) that the proxy's TLS listener shows to who asks for `name`."""
    with socket.create_connection(("127.0.0.1", gw.tls_port), timeout=30) as plain:
        with (context or client_context()).wrap_socket(plain, server_hostname=name) as tls:
            return tls.getpeercert(True)
