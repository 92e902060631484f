"""A certificate authority of one's own, for https inside the house.

Phones register a service worker only over https that they trust. Whoever has an authority's private key can pose as
any site to those who trust it; so this one carries name constraints: it is good for private addresses, `.local` names
and localhost, and for nothing else, whoever gets the key.
"""

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pocketlens.errors import ServeError
from pocketlens.server.addresses import NETWORKS

LOOPBACK = ip_network("127.0.0.0/8")

NAMES = ("local", "localhost")
"""With all names that end in a dot and one of these."""

YEARS = 5

LEAF_DAYS = 90
"""iOS refuses certificates of more than 825 days. A new one is made at each start."""


@dataclass(frozen=True, kw_only=True)
class Authority:
    """The authority of this user on this machine.

    Args:
        folder: where it is kept.
        certificate: PEM.
        key: PEM, private.
    """

    folder: Path
    certificate: bytes
    key: bytes

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, as phones show it."""
        return self._parsed.fingerprint(hashes.SHA256()).hex(":").upper()

    @property
    def name(self) -> str:
        """What phones list it under."""
        return str(self._parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    @property
    def download(self) -> bytes:
        """DER, which every system takes."""
        return self._parsed.public_bytes(serialization.Encoding.DER)

    def issue(self, *names: str) -> trustme.LeafCert:
        """A certificate for these addresses and names."""
        authority = trustme.CA.from_pem(self.certificate, self.key)
        now = datetime.now(UTC)
        return authority.issue_cert(
            *names,
            # No common name: OpenSSL holds it against the constraints as if it were a host name.
            organization_name="pocketlens",
            organization_unit_name="pocketlens serve",
            not_before=now - timedelta(days=1),  # phones whose clock is slow
            not_after=now + timedelta(days=LEAF_DAYS),
        )

    @property
    def _parsed(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate)


def config_folder() -> Path:
    """POCKETLENS_CONFIG, or pocketlens in XDG_CONFIG_HOME or ~/.config; not made here."""
    named = os.environ.get("POCKETLENS_CONFIG")
    return Path(named) if named else Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "pocketlens"


def authority(folder: Path | None = None) -> Authority:
    """The authority in `folder`, made at the first call; the private key is readable by its owner alone.

    Raises: ServeError when it cannot be read, is damaged or has expired.
    """
    folder = config_folder() if folder is None else folder
    certificate, key = folder / "ca.pem", folder / "ca.key"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not certificate.exists():
            _make(certificate, key)
        key.chmod(0o600)
        found = Authority(folder=folder, certificate=certificate.read_bytes(), key=key.read_bytes())
        trustme.CA.from_pem(found.certificate, found.key)
        expired = found._parsed.not_valid_after_utc < datetime.now(UTC) + timedelta(days=LEAF_DAYS)
    except (OSError, ValueError, TypeError) as error:
        raise ServeError(
            f"the certificate authority in {folder} cannot be used ({error}); remove ca.pem and ca.key there, and the "
            "next start makes another, which the phone must trust anew"
        ) from error
    if expired:
        raise ServeError(
            f"the certificate authority in {folder} has expired; remove ca.pem and ca.key there, and the next start "
            "makes another, which the phone must trust anew"
        )
    return found


def _make(certificate: Path, key: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "pocketlens"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"pocketlens on {socket.gethostname()}"[:64]),
        ]
    )
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, decipher_only=False, **usage),
            critical=True,
        )
        .add_extension(
            x509.NameConstraints(
                permitted_subtrees=[
                    *(x509.DNSName(name) for name in NAMES),
                    *(x509.IPAddress(network) for network in (*NETWORKS, LOOPBACK)),
                ],
                excluded_subtrees=None,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .sign(private, hashes.SHA256())
    )
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    # The key first: a certificate without its key would count as an authority.
    key.unlink(missing_ok=True)
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret)
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
