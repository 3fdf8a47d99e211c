"""Values and services every floor uses: architectures, evaluations, errors, seeds, files."""
