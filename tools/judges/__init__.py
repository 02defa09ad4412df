"""Independent judges that tests ask: veraPDF and BouncyCastle, each run from its library."""
