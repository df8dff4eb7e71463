"""From pictures of the world to aligned faces, and back."""
