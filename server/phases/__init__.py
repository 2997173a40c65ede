"""The phases of a study; each reads like pooled code over a `Federation`."""
