# SPDX-License-Identifier: GPL-2.0-only
"""What the programs in scripts/ share. It needs only python3's standard library."""
