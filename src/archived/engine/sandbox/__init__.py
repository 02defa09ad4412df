"""What a step's process may use and reach: resource limits, seccomp, Landlock, namespaces."""
