"""Thin adapters over transformers and diffusers; nothing else imports those libraries."""
