"""The services: handlers over ports, one file each. They know their business and nothing else."""
