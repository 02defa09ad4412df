"""Sample scans for tests, benchmarks and demonstrations: Vietnamese papers of invented bodies.

Everything is made on the spot from a seed; nothing is copied from a real document. Needs the
`archived[testing]` libraries and a Times-like font; importing this package needs neither.
"""

from archived.testing.samples.folders import Sample, corpus, make, nasty, sample, tiny, truth

__all__ = ["Sample", "corpus", "make", "nasty", "sample", "tiny", "truth"]
