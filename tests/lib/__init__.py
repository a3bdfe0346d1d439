# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: the relay under test, a stub platform, a raw WebSocket peer."""
