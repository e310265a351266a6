#!/usr/bin/env bash
# Install slurm for the tests marked `slurm`, if it is not there and can be:
# Debian's and Ubuntu's packages, as root. Always ends with 0; where it cannot,
# the tests are skipped and say why.
PACKAGES='slurmctld slurmd slurm-client munge'
if command -v slurmctld > /dev/null && command -v slurmd > /dev/null; then
    echo "slurm is there: $(slurmctld -V)"
elif ! command -v apt-get > /dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "slurm is not installed: that takes apt-get and root"
else
    echo "Installing $PACKAGES with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install --yes --no-install-recommends \
        $PACKAGES; } > "${TMPDIR:-/tmp}/slurm-install.log" 2>&1 ||
        echo "apt-get failed: ${TMPDIR:-/tmp}/slurm-install.log"
fi
exit 0
