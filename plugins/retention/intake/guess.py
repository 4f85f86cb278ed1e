"""guess"""
