"""Into the PACS: what a published report says, sent through the doors that a hospital has."""
