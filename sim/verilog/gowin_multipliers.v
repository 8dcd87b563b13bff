// MULT9X9 and MULT18X18 of Gowin, as far as Tilewright uses them: signed or unsigned product, any of
// the four registers, synchronous reset. Anything else stops the simulation.
//
// Written from Gowin's DSP user guide UG287; not a model of their timing.

`timescale 1ns / 1ns

module tilewright_gowin_multiplier #(
    parameter WIDTH = 9, AREG = 0, BREG = 0, OUT_REG = 0, PIPE_REG = 0, UNSUPPORTED = 0
) (
    input [WIDTH-1:0] A, B,
    input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET,
    output signed [2*WIDTH-1:0] DOUT
);
    reg signed [WIDTH:0] a_register, b_register;
    reg signed [2*WIDTH-1:0] pipe_register, out_register;

    wire signed [WIDTH:0] a_port = $signed({ASIGN & A[WIDTH-1], A});
    wire signed [WIDTH:0] b_port = $signed({BSIGN & B[WIDTH-1], B});
    wire signed [WIDTH:0] a = AREG ? a_register : a_port;
    wire signed [WIDTH:0] b = BREG ? b_register : b_port;
    wire signed [2*WIDTH+1:0] product = a * b;
    wire signed [2*WIDTH-1:0] piped = PIPE_REG ? pipe_register : product[2*WIDTH-1:0];
    assign DOUT = OUT_REG ? out_register : piped;

    always @(posedge CLK)
        if (RESET) begin
            a_register <= 0;
            b_register <= 0;
            pipe_register <= 0;
            out_register <= 0;
        end else if (CE) begin
            a_register <= a_port;
            b_register <= b_port;
            pipe_register <= product[2*WIDTH-1:0];
            out_register <= piped;
        end

    initial
        if (UNSUPPORTED) begin
            $display("%m: a parameter has a value that this model does not have");
            $fatal;
        end

    always @(posedge CLK)
        if (ASEL !== 0 || BSEL !== 0) begin
            $display("%m: ASEL and BSEL must be 0 in this model");
            $fatal;
        end
endmodule

module MULT9X9 #(
    parameter AREG = 1'b0, BREG = 1'b0, OUT_REG = 1'b0, PIPE_REG = 1'b0,
    parameter ASIGN_REG = 1'b0, BSIGN_REG = 1'b0, SOA_REG = 1'b0, MULT_RESET_MODE = "SYNC"
) (
    input [8:0] A, SIA, B, SIB,
    input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET,
    output [17:0] DOUT
);
    tilewright_gowin_multiplier #(
        .WIDTH(9), .AREG(AREG), .BREG(BREG), .OUT_REG(OUT_REG), .PIPE_REG(PIPE_REG),
        .UNSUPPORTED(ASIGN_REG || BSIGN_REG || SOA_REG || MULT_RESET_MODE != "SYNC")
    ) multiplier (
        .A(A), .B(B), .ASIGN(ASIGN), .BSIGN(BSIGN), .ASEL(ASEL), .BSEL(BSEL), .CE(CE), .CLK(CLK),
        .RESET(RESET), .DOUT(DOUT)
    );
endmodule

module MULT18X18 #(
    parameter AREG = 1'b0, BREG = 1'b0, OUT_REG = 1'b0, PIPE_REG = 1'b0,
    parameter ASIGN_REG = 1'b0, BSIGN_REG = 1'b0, SOA_REG = 1'b0, MULT_RESET_MODE = "SYNC"
) (
    input [17:0] A, SIA, B, SIB,
    input ASIGN, BSIGN, ASEL, BSEL, CE, CLK, RESET,
    output [35:0] DOUT
);
    tilewright_gowin_multiplier #(
        .WIDTH(18), .AREG(AREG), .BREG(BREG), .OUT_REG(OUT_REG), .PIPE_REG(PIPE_REG),
        .UNSUPPORTED(ASIGN_REG || BSIGN_REG || SOA_REG || MULT_RESET_MODE != "SYNC")
    ) multiplier (
        .A(A), .B(B), .ASIGN(ASIGN), .BSIGN(BSIGN), .ASEL(ASEL), .BSEL(BSEL), .CE(CE), .CLK(CLK),
        .RESET(RESET), .DOUT(DOUT)
    );
endmodule
