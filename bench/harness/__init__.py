# SPDX-License-Identifier: Apache-2.0
"""What bench/run is made of: build, procs (children), relay (what is measured), report."""
