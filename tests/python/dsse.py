"""securesystemslib as a judge of bundles' signatures.

dsse.py verify BUNDLE PUBLIC_HEX        is the bundle's envelope, for its own manifest, signed with the key?
dsse.py sign UNSIGNED SEED_HEX OUT      signs a bundle with the key of a seed, and prints the public key
"""

import hashlib
import io
import json
import sys
import tarfile

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey

MANIFEST = "manifest.toml"
SIGNATURES = "manifest.dsse.json"
TYPE = "application/vnd.fondaco.manifest.v1+toml"


def read(path):
    with tarfile.open(path) as bundle:
        return {m.name: bundle.extractfile(m).read() for m in bundle.getmembers()}


def write(path, files):
    out, headers = io.BytesIO(), []
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as bundle:
        for name in sorted(files, key=str.encode):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            headers.append(out.tell())
            bundle.addfile(entry, io.BytesIO(files[name]))
    made = bytearray(out.getvalue())
    for at in headers:
        # Python leaves the device's two numbers empty where there is no device; a bundle has zeros.
        made[at + 329 : at + 345] = b"0000000\0" * 2
        made[at + 148 : at + 156] = b" " * 8
        made[at + 148 : at + 156] = b"%06o\0 " % sum(made[at : at + 512])
    # Python fills up to a record of 20 blocks; a bundle ends with two.
    length = sum(512 + (len(b) + 511) // 512 * 512 for b in files.values()) + 1024
    with open(path, "wb") as file:
        file.write(made[:length])


def verify(path, public):
    files = read(path)
    envelope = Envelope.from_dict(json.loads(files[SIGNATURES]))
    assert envelope.payload_type == TYPE, envelope.payload_type
    assert envelope.payload == files[MANIFEST], "the signatures are about another manifest"
    (key_id,) = envelope.signatures
    key = SSlibKey(key_id, "ed25519", "ed25519", {"public": public})
    envelope.verify([key], 1)


def sign(path, seed, out):
    files = read(path)
    assert SIGNATURES not in files, "the bundle is signed already"
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    envelope = Envelope(files[MANIFEST], TYPE, {})
    public = private.public_key()
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    # Key ids here are of the key itself (RFC 8410), not of the library's own description of it.
    key_id = hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    envelope.sign(CryptoSigner(private, SSlibKey(key_id, "ed25519", "ed25519", {"public": raw})))
    files[SIGNATURES] = json.dumps(envelope.to_dict()).encode()
    write(out, files)
    print(raw)


{"verify": verify, "sign": sign}[sys.argv[1]](*sys.argv[2:])
