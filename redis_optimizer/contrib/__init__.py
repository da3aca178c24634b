"""What goes with other libraries, where those are installed: each module says with which."""
