"""How an authority lies in its directory.

    authority.json    what is trusted and who signs, and where a rotation stands: certificates, no key
    root.pem          the roots, for those who have to trust before they have been told anything
    NAME.key          a key each, of the root and of the intermediate; they are called by their key's identifier

A step is one replacement of authority.json; keys are written before it names them, and removed after it does no more.
The key of a root is read to sign an intermediate, and for nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from plait.codec import Codec
from plait.identity import certificates
from plait.identity.certificates import pem
from plait.identity.files import private_directory, read_private, write_private
from plait.identity.given import AuthorityError
from plait.identity.keys import Key, key_pem, load_key, new_key
from plait.identity.rotation import Issuer, State
from plait.identity.trust import key_name

_STATE, _ROOTS = "authority.json", "root.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """The content of authority.json."""

    trust_domain: str
    state: State


_KEPT = Codec[_Kept](_Kept)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The files of an authority; all of it raises AuthorityError, OSError and Insecure when they are not as they should be."""

    directory: Path
    trust_domain: str

    def read(self) -> State | None:
        """What was written last; None when nothing ever was."""
        private_directory(self.directory)
        path = self.directory / _STATE
        try:
            kept = _KEPT.decode(read_private(path))
            for issuer in (kept.state.issuer, kept.state.following):
                if issuer is not None:
                    signers(issuer)
        except FileNotFoundError:
            if (self.directory / _ROOTS).exists():
                raise self._missing(path) from None
            return None
        except ValueError as error:  # CodecError is one
            raise AuthorityError(f"{path} is damaged: {error}") from error
        if kept.trust_domain != self.trust_domain:
            raise AuthorityError(
                f"{path} is not of the trust domain {self.trust_domain}; remove {self.directory} to begin anew"
            )
        return kept.state

    def write(self, state: State) -> None:
        """Replace what was written last."""
        kept = _Kept(trust_domain=self.trust_domain, state=state)
        write_private(self.directory / _STATE, _KEPT.encode(kept))
        self.write_roots(state)

    def write_roots(self, state: State) -> None:
        """The roots alone, in case they were not written before a crash."""
        write_private(self.directory / _ROOTS, state.trust.roots.encode())

    def root(self, now: float) -> Issuer:
        """A new root, and an intermediate under it; their keys are written."""
        key = new_key()
        made = certificates.root(key, self.trust_domain, now)
        self._write_key(key_name(made), key)
        return self.intermediate(pem(made), now)

    def intermediate(self, root: str, now: float) -> Issuer:
        """A new intermediate under a root of ours (PEM); its key is written."""
        above = x509.load_pem_x509_certificate(root.encode())
        by = self._read_key(key_name(above))
        key = new_key()
        made = certificates.intermediate(key, self.trust_domain, now, by=by, of=above)
        self._write_key(key_name(made), key)
        return Issuer(name=key_name(made), chain=pem(made), root=root)

    def key(self, issuer: Issuer) -> Key:
        """The key of one who signs, which is that of its certificate."""
        key = self._read_key(issuer.name)
        if key.public_key() != signers(issuer)[0].public_key():
            raise AuthorityError(f"{self._path(issuer.name)} is not the key of its certificate")
        return key

    def tidy(self, state: State) -> None:
        """Remove keys that nothing is signed with any more."""
        signing = [one for one in (state.issuer, state.following) if one is not None]
        named = {self._path(name) for one in signing for name in (one.name, key_name(signers(one)[-1]))}
        for path in self.directory.glob("*.key"):
            if path not in named:
                path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.key"

    def _write_key(self, name: str, key: Key) -> None:
        write_private(self._path(name), key_pem(key).encode())

    def _read_key(self, name: str) -> Key:
        path = self._path(name)
        try:
            return load_key(read_private(path).decode("ascii"))
        except FileNotFoundError:
            raise self._missing(path) from None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # What the library says may tell of what it has read.
            raise AuthorityError(f"{path} is damaged: it holds no key of ours") from None

    def _missing(self, path: Path) -> AuthorityError:
        return AuthorityError(f"{path} is missing; put it back, or remove {self.directory} to begin anew")


def signers(issuer: Issuer) -> tuple[x509.Certificate, ...]:
    """The certificates of an issuer: of who signs first, of its root last; one when they are the same."""
    return certificates.certificates(issuer.chain + issuer.root)
