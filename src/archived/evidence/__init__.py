"""Evidence records (RFC 4998): proof that bytes existed at a time, renewed without touching them.

Hash trees, records as ASN.1, time-stamp tokens and verification. Nothing here knows documents,
the store or the network.
"""
