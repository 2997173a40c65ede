"""The same payload over NVFlare's simulator; runs in an environment of its own."""
