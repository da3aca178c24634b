"""What a site's users see while Redis fails in one way or another."""
