"""Written to switch the control socket off."""

workers = 1
control_socket = None
