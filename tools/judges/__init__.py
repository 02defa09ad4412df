"""Independent judges that tests ask: veraPDF, run from its library. No code is shared with them."""
