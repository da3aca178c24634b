"""What this process counts about itself. Counting sends nothing and touches no file."""
