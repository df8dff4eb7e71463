"""The official files: one module per code base that writes them."""
