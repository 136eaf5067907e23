"""Which files show the same patient, without saying who: a salted hash of PatientID, and nothing else of the header."""

from __future__ import annotations

import hashlib
import hmac

from edge_runtime.dicom.files import read_elements, silenced
from edge_runtime.errors import EdgeError

SALT_BYTES = 32
_KEY_DIGITS = 32  # hexadecimal: 128 bits, so that no two patients ever share one
# What programs that remove names put in their place: the same for everybody, so it tells nobody from anybody.
_NOBODY = frozenset({"", "0", "ANON", "ANONYMOUS", "ANONYMIZED", "ANONYMISED", "DEIDENTIFIED", "UNKNOWN", "NONE", "NA"})


def patient_key(data: bytes, salt: bytes) -> str | None:
    """Hexadecimal, the same for files of one patient and one salt; None where the file does not tell patients apart.

    Args:
        data: a whole DICOM file.
        salt: SALT_BYTES random bytes: without them nobody can try out numbers until one gives the same key.
    """
    try:
        with silenced():
            ds = read_elements(data, "", ("PatientID", "IssuerOfPatientID"))
            patient, issuer = (str(ds.get(keyword) or "").strip() for keyword in ("PatientID", "IssuerOfPatientID"))
    except EdgeError:
        return None
    if "".join(filter(str.isalnum, patient)).upper() in _NOBODY:
        return None
    return hmac.new(salt, f"{issuer}\0{patient}".encode(), hashlib.sha256).hexdigest()[:_KEY_DIGITS]
