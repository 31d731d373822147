"""The keystore that rcl reads: an authority for who somebody is, another for what they may do, and a folder for each enclave.

Laid out as by `ros2 security` (package sros2), but with two authorities where that makes one, so that the key which says who is
who cannot say what they may. Keys are ECDSA on P-256, documents are signed as S/MIME (DDS Security 1.1, 9.3 and 9.4). The private
keys of the authorities are not written: nobody can add to the keystore; another `robot-stack secure enclaves` draws a new one.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from robot_stack.errors import ConfigError
from robot_stack.secure.enclaves import Enclave, governance, permissions
from robot_stack.secure.private import write_new

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    Identity = tuple[x509.Certificate, EllipticCurvePrivateKey]

EARLIER = timedelta(minutes=5)
"""How far the clocks of two computers may differ at the beginning."""


def make_keystore(folder: Path, listed: Sequence[Enclave], days: int) -> Path:
    """Write a keystore for `listed` to the new `folder`, good for `days`. Raises ConfigError where the folder is not empty."""
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"out: {folder} is not empty, allowed a new folder: keys are never overwritten")
    begin = datetime.now(UTC) - EARLIER
    end = begin + EARLIER + timedelta(days=days)
    identities = _identity("robot_stack identity CA", begin, end)
    rights = _identity("robot_stack permissions CA", begin, end)
    signed = _signed(governance(), rights)
    for name in ("public", "enclaves"):
        (folder / name).mkdir(parents=True, mode=0o700)
    for name, (certificate, _) in (("identity_ca", identities), ("permissions_ca", rights)):
        (folder / "public" / f"{name}.cert.pem").write_bytes(_pem(certificate))
    (folder / "enclaves" / "governance.xml").write_bytes(governance())
    (folder / "enclaves" / "governance.p7s").write_bytes(signed)
    for enclave in listed:
        place = folder / "enclaves" / enclave.name.strip("/")
        place.mkdir(parents=True, mode=0o700)
        document = permissions(enclave, begin, end)
        certificate, key = _identity(enclave.name, begin, end, identities)
        files = {
            "cert.pem": _pem(certificate),
            "identity_ca.cert.pem": _pem(identities[0]),
            "permissions_ca.cert.pem": _pem(rights[0]),
            "governance.p7s": signed,
            "permissions.xml": document,
            "permissions.p7s": _signed(document, rights),
        }
        for name, content in files.items():
            (place / name).write_bytes(content)
        write_new(place / "key.pem", _secret(key))
    return folder


def _identity(name: str, begin: datetime, end: datetime, issuer: "Identity | None" = None) -> "Identity":
    """A key and its certificate: signed by `issuer`, or an authority of its own."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=0 if issuer is None else None), critical=True)
    )
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def _signed(document: bytes, signer: "Identity") -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

    options = [pkcs7.PKCS7Options.Text, pkcs7.PKCS7Options.DetachedSignature]
    return pkcs7.PKCS7SignatureBuilder().set_data(document).add_signer(*signer, hashes.SHA256()).sign(Encoding.SMIME, options)


def _pem(certificate: "x509.Certificate") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _secret(key: "EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization as form

    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
