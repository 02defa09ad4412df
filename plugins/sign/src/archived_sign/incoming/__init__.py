"""Signatures that documents arrive with: found, judged without any network, and put on record.

Nothing here signs, and nothing changes a file.
"""
