"""Boards, bundles and diamonds: finding them, telling what is wrong with them, learning them."""
