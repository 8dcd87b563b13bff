// MULT18X18D of Lattice ECP5, as far as Tilewright uses it: signed or unsigned product, each register
// on CLK0, CE0 and RST0 or absent, synchronous reset. Anything else stops the simulation.
//
// Written from the description of the sysDSP slice in Lattice's ECP5 data sheet and technical note
// FPGA-TN-02205; not a model of its timing.

`timescale 1ns / 1ns

module MULT18X18D #(
    parameter REG_INPUTA_CLK = "NONE", REG_INPUTA_CE = "CE0", REG_INPUTA_RST = "RST0",
    parameter REG_INPUTB_CLK = "NONE", REG_INPUTB_CE = "CE0", REG_INPUTB_RST = "RST0",
    parameter REG_INPUTC_CLK = "NONE", REG_INPUTC_CE = "CE0", REG_INPUTC_RST = "RST0",
    parameter REG_PIPELINE_CLK = "NONE", REG_PIPELINE_CE = "CE0", REG_PIPELINE_RST = "RST0",
    parameter REG_OUTPUT_CLK = "NONE", REG_OUTPUT_CE = "CE0", REG_OUTPUT_RST = "RST0",
    parameter CLK0_DIV = "ENABLED", CLK1_DIV = "ENABLED", CLK2_DIV = "ENABLED",
    parameter CLK3_DIV = "ENABLED", HIGHSPEED_CLK = "NONE", GSR = "ENABLED",
    parameter CAS_MATCH_REG = "FALSE", SOURCEB_MODE = "B_SHIFT", MULT_BYPASS = "DISABLED",
    parameter RESETMODE = "SYNC"
) (
    input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    input CLK3, CLK2, CLK1, CLK0, CE3, CE2, CE1, CE0, RST3, RST2, RST1, RST0,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
    output P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
    reg signed [18:0] a_register, b_register;
    reg signed [35:0] pipeline_register, output_register;

    wire signed [18:0] a_port = $signed({SIGNEDA & A17, A17, A16, A15, A14, A13, A12, A11, A10, A9,
        A8, A7, A6, A5, A4, A3, A2, A1, A0});
    wire signed [18:0] b_port = $signed({SIGNEDB & B17, B17, B16, B15, B14, B13, B12, B11, B10, B9,
        B8, B7, B6, B5, B4, B3, B2, B1, B0});
    wire signed [18:0] a = REG_INPUTA_CLK == "NONE" ? a_port : a_register;
    wire signed [18:0] b = REG_INPUTB_CLK == "NONE" ? b_port : b_register;
    wire signed [37:0] product = a * b;
    wire signed [35:0] pipelined = REG_PIPELINE_CLK == "NONE" ? product[35:0] : pipeline_register;
    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19,
        P18, P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0}
        = REG_OUTPUT_CLK == "NONE" ? pipelined : output_register;

    always @(posedge CLK0)
        if (RST0) begin
            a_register <= 0;
            b_register <= 0;
            pipeline_register <= 0;
            output_register <= 0;
        end else if (CE0) begin
            a_register <= a_port;
            b_register <= b_port;
            pipeline_register <= product[35:0];
            output_register <= pipelined;
        end

    function unsupported_register(input [8*4-1:0] clock, input [8*3-1:0] enable,
                                  input [8*4-1:0] reset);
        unsupported_register = clock != "NONE" && (clock != "CLK0" || enable != "CE0"
            || reset != "RST0");
    endfunction

    initial
        if (unsupported_register(REG_INPUTA_CLK, REG_INPUTA_CE, REG_INPUTA_RST)
            || unsupported_register(REG_INPUTB_CLK, REG_INPUTB_CE, REG_INPUTB_RST)
            || unsupported_register(REG_PIPELINE_CLK, REG_PIPELINE_CE, REG_PIPELINE_RST)
            || unsupported_register(REG_OUTPUT_CLK, REG_OUTPUT_CE, REG_OUTPUT_RST)
            || REG_INPUTC_CLK != "NONE" || CLK0_DIV != "ENABLED" || HIGHSPEED_CLK != "NONE"
            || CAS_MATCH_REG != "FALSE" || MULT_BYPASS != "DISABLED" || RESETMODE != "SYNC"
        ) begin
            $display("MULT18X18D %m: a parameter has a value that this model does not have");
            $fatal;
        end

    always @(posedge CLK0)
        if (SOURCEA !== 0 || SOURCEB !== 0) begin
            $display("MULT18X18D %m: SOURCEA and SOURCEB must be 0 in this model");
            $fatal;
        end
endmodule
