"""Whether a time stamp token (RFC 3161) is what was asked for, before it goes into a file.

Looks at the answer alone: the nonce, the digest, the signature, and the certificate at the time
that the token states. Whether anybody trusts that certificate is `validation`'s to say.
"""

from __future__ import annotations

from asn1crypto import cms, tsp
from asn1crypto import x509 as asn1_x509
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.generic_cms import validate_tst_signed_data
from pyhanko_certvalidator import ValidationContext

TIME_STAMPING = "time_stamping"


async def flaw_of(token: cms.ContentInfo, digest: bytes, algorithm: str, nonce: int | None) -> str:
    """What is wrong with the token, or nothing (`""`). `algorithm` is the digest's.

    Raises what the parser raises when it is no token: `ValueError`, `TypeError`, `KeyError`,
    `AttributeError`.
    """
    info = tst_info(token["content"])
    if nonce is not None and info["nonce"].native != nonce:
        return "it answered another question (the nonce differs)"
    imprint = info["message_imprint"]
    if imprint["hashed_message"].native != digest:
        return "it stamped something else than what was sent"
    if imprint["hash_algorithm"]["algorithm"].native != algorithm:
        return "it stamped a digest of another kind than what was sent"
    return _flaw_of_certificate(token, info) or await _flaw_of_signature(token["content"], digest)


def tst_info(signed_data: cms.SignedData) -> tsp.TSTInfo:
    """What a token states: time, digest, policy, serial number."""
    return signed_data["encap_content_info"]["content"].parsed


def certificates_of(signed_data: cms.SignedData) -> list[asn1_x509.Certificate]:
    """The certificates that a signature or a token carries."""
    return [each.chosen for each in signed_data["certificates"] if each.name == "certificate"]


def signer_of(signed_data: cms.SignedData) -> asn1_x509.Certificate | None:
    """The certificate that made a signature or a token, if it is in it."""
    sid = signed_data["signer_infos"][0]["sid"]
    for each in certificates_of(signed_data):
        if sid.name == "issuer_and_serial_number":
            named = sid.chosen
            if (
                each.issuer == named["issuer"]
                and each.serial_number == named["serial_number"].native
            ):
                return each
        elif each.key_identifier == sid.chosen.native:
            return each
    return None


async def _flaw_of_signature(signed_data: cms.SignedData, digest: bytes) -> str:
    nobody = ValidationContext(trust_roots=[], allow_fetching=False)
    try:
        status = await validate_tst_signed_data(signed_data, nobody, lambda _: digest)
    except SignatureValidationError as error:
        return f"its token is not sound: {error.failure_message}"
    return "" if status["intact"] and status["valid"] else "the signature of its token is wrong"


def _flaw_of_certificate(token: cms.ContentInfo, info: tsp.TSTInfo) -> str:
    certificate = signer_of(token["content"])
    if certificate is None:
        return "its token lacks the certificate that made it"
    at = info["gen_time"].native
    if at > certificate.not_valid_after:
        return f"its certificate expired on {certificate.not_valid_after:%Y-%m-%d}"
    if at < certificate.not_valid_before:
        return f"its certificate is valid from {certificate.not_valid_before:%Y-%m-%d}"
    usage = certificate.extended_key_usage_value
    if usage is None or TIME_STAMPING not in usage.native:
        return "its certificate is not one for time stamps"
    return ""
