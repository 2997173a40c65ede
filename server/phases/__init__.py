"""The phases of a study as a program; each reads like pooled code over a `Federation`."""
