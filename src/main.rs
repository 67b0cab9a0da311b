fn main() -> std::process::ExitCode {
    fairlead::cli::main()
}
