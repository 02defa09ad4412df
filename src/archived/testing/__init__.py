"""Public testing kit: run a stage for real, the contracts, sample scans."""
