"""What the cluster runs, checked without a cluster: `make platform-check`.

Each module of MODULES looks at one thing and has `rows(root)`: lines of the table, for the repository at `root`.
Policies are plain functions over rendered manifests; tools come as wheels, locked in requirements.lock.
"""
