"""Who made a bundle: an Ed25519 signature (RFC 8032) of its manifest, which holds the hash of every other file.

`manifest.sig` beside the manifest is one line: the id of the key, a space, the signature in base64. Signed is CONTEXT and then
the bytes of manifest.yaml, so that a signature made for anything else is none for a bundle. Keys are PEM files; the id is the
start of the sha256 of the public key, and says only which key to look for.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robot_stack.errors import ConfigError, PolicyError
from robot_stack.secure.private import write_new

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MANIFEST, SIGNATURE = "manifest.yaml", "manifest.sig"
CONTEXT = b"robot_stack bundle manifest, version 1\n"
MANIFEST_BYTES, KEY_BYTES = 16 << 20, 1 << 16


def make_key_pair(path: Path) -> tuple[Path, Path]:
    """A new private key at `path` (0600, not encrypted), its public key at `path`.pub. Raises ConfigError where one exists."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = path.with_name(path.name + ".pub")
    key = Ed25519PrivateKey.generate()
    private_text = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public_text = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    path.parent.mkdir(parents=True, exist_ok=True)
    for file, text, mode in ((path, private_text, 0o600), (public, public_text, 0o644)):
        try:
            write_new(file, text, mode)
        except FileExistsError:
            raise ConfigError(f"key: {file} exists, allowed a new file: a key is never overwritten") from None
    return path, public


def sign(folder: Path, key: Path) -> Path:
    """Sign the bundle in `folder` with the private key file `key`; where the signature lies. Raises ConfigError, PolicyError."""
    private = _private(key)
    line = f"{key_id(private.public_key())} {base64.b64encode(private.sign(_signed(folder))).decode()}\n"
    file = folder / SIGNATURE
    file.write_text(line, encoding="ascii")
    return file


def verify(folder: Path, trusted: Sequence[str | Path]) -> str:
    """The file of `trusted` whose key signed the bundle in `folder`.

    Raises PolicyError when none did, or there is no signature; ConfigError where a file of `trusted` holds no public key.
    """
    from cryptography.exceptions import InvalidSignature

    keys = [(str(file), _public(Path(file))) for file in trusted]
    signature, signed = _signature(folder), _signed(folder)
    for file, key in keys:
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            continue
        return file
    ids = ", ".join(f"{file} ({key_id(key)})" for file, key in keys)
    raise PolicyError(
        f"{folder / SIGNATURE}: found a signature of none of run.trusted_keys ({ids}): the manifest was changed since, "
        "or another key signed it; next: robot-stack secure sign, by who holds a trusted key"
    )


def key_id(key: "Ed25519PublicKey") -> str:
    """16 hex digits that name `key`."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def _signed(folder: Path) -> bytes:
    return CONTEXT + _read(folder / MANIFEST, MANIFEST_BYTES)


def _signature(folder: Path) -> bytes:
    file = folder / SIGNATURE
    if not file.is_file():
        raise PolicyError(f"{file}: missing, and run.trusted_keys allows only signed bundles; next: robot-stack secure sign")
    words = _read(file, KEY_BYTES).split()
    try:
        return base64.b64decode(words[1], validate=True)
    except (IndexError, binascii.Error) as error:
        raise PolicyError(f"{file}: no signature ({error}), allowed '<key id> <base64>'; sign the bundle again") from error


def _read(file: Path, most: int) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise PolicyError(f"{file}: {error.strerror}; is it a bundle?") from error
    if len(data) > most:
        raise PolicyError(f"{file}: found more than {most} bytes, allowed at most that; it is no manifest")
    return data


def _private(file: Path) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"key: {file} holds no private key ({error}); next: robot-stack secure keygen key={file}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"key: {file}: found {type(key).__name__}, allowed Ed25519; next: robot-stack secure keygen")
    return key


def _public(file: Path) -> "Ed25519PublicKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"run.trusted_keys: {file} holds no public key ({error}); allowed what `secure keygen` wrote"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"run.trusted_keys: {file}: found {type(key).__name__}, allowed Ed25519")
    return key
