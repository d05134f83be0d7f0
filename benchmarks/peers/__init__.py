"""What a user would write instead, in its plainest form."""
